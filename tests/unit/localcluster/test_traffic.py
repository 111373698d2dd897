"""What the traffic exporter counts: by the images of the Ready pods, unless it is told otherwise."""

from __future__ import annotations

import re

import pytest
from localcluster.traffic import Control, Fleet, Pod


def a_pod(image: str = "shop/web:1", *, name: str = "web-1", is_ready: bool = True) -> Pod:
    return Pod("acme", name, (image,), is_ready, (("web", 0),))


def counted(fleet: Fleet, series: str) -> dict[str, float]:
    """Return the values of a metric by its label value in braces, such as {'200': 7.0}."""
    lines = "\n".join(fleet.exposition())
    return {
        label: float(value)
        for label, value in re.findall(rf'^{series}\{{.*?(?:code|le|container)="([^"]+)"\}} (\S+)$', lines, re.MULTILINE)
    }


@pytest.mark.parametrize(
    ("pods", "requests"),
    [
        ([a_pod()], {"200": 100, "500": 0}),
        ([a_pod("shop/web:2-err")], {"200": 70, "500": 30}),
        ([a_pod(), a_pod("shop/web:2-err", name="web-2")], {"200": 85, "500": 15}),
        ([a_pod(), a_pod("shop/web:2-err", name="web-2", is_ready=False)], {"200": 100, "500": 0}),
        ([a_pod(is_ready=False)], {}),
    ],
    ids=["good", "failing", "half and half", "failing but not Ready", "never Ready"],
)
def test_ten_seconds_of_ten_requests(pods: list[Pod], requests: dict[str, float]) -> None:
    fleet = Fleet(0.0, rate=10, error_share=0.3)
    fleet.replace_all(pods)
    fleet.advance(10.0)
    assert counted(fleet, "http_requests_total") == requests


def test_a_tenant_whose_pods_all_fail_after_they_served_is_answered_for_by_its_ingress() -> None:
    fleet = Fleet(0.0, rate=10)
    fleet.put(a_pod())
    fleet.advance(1.0)
    fleet.put(a_pod(is_ready=False))
    fleet.advance(3.0)
    assert counted(fleet, "http_requests_total") == {"200": 10, "500": 0, "503": 20}


def test_a_share_of_errors_holds_even_while_no_pod_is_ready() -> None:
    fleet = Fleet(0.0, rate=10)
    fleet.set_control("acme", Control(error_share=0.1))
    fleet.put(a_pod())
    fleet.advance(1.0)
    fleet.put(a_pod(is_ready=False))
    fleet.advance(10.0)
    assert counted(fleet, "http_requests_total") == {"200": 90, "500": 10}


def test_a_slow_image_fills_the_upper_buckets() -> None:
    fleet = Fleet(0.0, rate=10)
    fleet.put(a_pod("shop/web:2-slow"))
    fleet.advance(10.0)
    buckets = counted(fleet, "http_request_duration_seconds_bucket")
    assert (buckets["0.025"], buckets["0.05"], buckets["1.0"], buckets["2.5"], buckets["+Inf"]) == (0, 20, 20, 100, 100)


def test_low_rates_lose_nothing_between_scrapes() -> None:
    fleet = Fleet(0.0, rate=0.25)
    fleet.put(a_pod())
    for second in range(1, 41):
        fleet.advance(float(second))
        list(fleet.exposition())
    assert counted(fleet, "http_requests_total")["200"] == 10


def test_a_control_overrides_one_tenant_or_all_without_their_own() -> None:
    fleet = Fleet(0.0, rate=10)
    fleet.put(a_pod())
    fleet.set_control("*", Control(error_share=1.0))
    fleet.advance(1.0)
    fleet.set_control("acme", Control(rate=1))
    fleet.advance(2.0)
    fleet.set_control("acme", None)
    fleet.set_control("*", None)
    fleet.advance(3.0)
    assert counted(fleet, "http_requests_total") == {"200": 11, "500": 10}


def test_a_silent_tenant_has_no_series_and_later_goes_on_counting() -> None:
    fleet = Fleet(0.0, rate=10)
    fleet.put(a_pod())
    fleet.advance(1.0)
    fleet.set_control("acme", Control(silent=True))
    fleet.advance(2.0)
    assert "acme" not in "".join(fleet.exposition())
    fleet.set_control("acme", None)
    assert counted(fleet, "http_requests_total")["200"] == 20


def test_a_control_for_an_image_holds_while_a_ready_pod_runs_it() -> None:
    """The new version is ill, the old one is not."""
    fleet = Fleet(0.0, rate=10)
    fleet.set_control("acme", Control(rate=20, images={":2": {"error_share": 0.5, "silent": True}}))
    fleet.put(a_pod())
    fleet.advance(1.0)
    assert counted(fleet, "http_requests_total") == {"200": 20, "500": 0}
    fleet.put(a_pod("shop/web:2"))
    fleet.advance(2.0)
    assert "acme" not in "".join(fleet.exposition())
    fleet.put(a_pod())
    assert counted(fleet, "http_requests_total") == {"200": 30, "500": 10}


def test_a_control_with_an_unknown_field_for_an_image_is_refused() -> None:
    with pytest.raises(TypeError, match="errors"):
        Control(images={":2": {"errors": 0.5}})


def test_earlier_requests_are_counted_at_once() -> None:
    fleet = Fleet(0.0, rate=10)
    fleet.put(a_pod())
    fleet.advance(1.0)
    fleet.count("*", {"200": 36000})
    assert counted(fleet, "http_requests_total")["200"] == 36010
    assert counted(fleet, "http_request_duration_seconds_bucket")["0.05"] == 36010


def test_gauges_and_restarts_are_as_the_control_has_them() -> None:
    fleet = Fleet(0.0)
    fleet.put(a_pod())
    fleet.advance(1.0)
    fleet.set_control("acme", Control(gauges={"queue_lag_seconds": 12, "odd": "NaN"}, restarts=3))
    lines = list(fleet.exposition())
    assert {'queue_lag_seconds{namespace="acme"} 12.0', 'odd{namespace="acme"} nan', "# TYPE odd gauge"} <= set(lines)
    assert counted(fleet, "kube_pod_container_status_restarts_total") == {"web": 3}
