"""Gates as people write them: where the numbers come from, what is checked, how it is evaluated."""

from decimal import Decimal
from typing import Annotated

from pydantic import Field

from tenantwave.api.model import ApiModel, Choice, Rule, about
from tenantwave.api.scalars import (
    DECIMAL_PATTERN,
    Duration,
    IntOrPercent,
    Name,
    PositiveDuration,
    SeriesLabel,
    Share,
    bounded_text,
    parse_duration,
)

SELECTOR_LENGTH = 1024
QUERY_LENGTH = 4096


class GateMode(Choice):
    """What a gate's verdict does."""

    ENFORCE = "Enforce", "it decides"
    OBSERVE = "Observe", "it is evaluated and recorded, without effect"


class OnNoData(Choice):
    """What happens to tenants with too little traffic."""

    POOL = "Pool", "they are judged together, as one"
    HOLD = "Hold", "they wait for evidence of their own"


class UnknownAction(Choice):
    """What follows when metrics cannot be used for too long."""

    PAUSE = "Pause", "the upgrade pauses until Resume"


class SecretReference(ApiModel):
    """A Secret in the operator's namespace."""

    name: Annotated[
        str,
        about(
            "The Secret's name. Keys: token, or username and password; ca.crt; tls.crt and tls.key.",
            example="prometheus-auth",
            min_length=1,
            max_length=253,
        ),
    ]


class Prometheus(ApiModel):
    """Where the gates get their numbers."""

    rules = (
        Rule(
            "!has(self.headers) || self.headers.all(k, !(k.lowerAscii() in ['authorization', 'cookie', 'host'])"
            " && !k.lowerAscii().startsWith('content-'))",
            "must not set Authorization, Cookie, Host or Content-* in `headers`; credentials belong in the Secret of `secretRef`",
        ),
        Rule(
            "!has(self.headers) || self.headers.all(k, k.matches(r'^[A-Za-z0-9-]{1,64}$'))",
            "must have `headers` named with letters, digits and dashes, at most 64 characters",
        ),
    )

    url: Annotated[
        str,
        about(
            "The base URL, http or https, without credentials; a path prefix belongs to it.",
            example="https://prometheus.monitoring:9090",
            max_length=512,
            rules=(
                Rule(
                    "self.matches(r'^https?://[^/@ ?#]+(/[^ ?#@]*)?$')",
                    "must be an http or https URL without credentials, such as https://prometheus.monitoring:9090",
                ),
            ),
        ),
    ]
    secret_ref: Annotated[
        SecretReference | None,
        about("A Secret with credentials and certificates.", example={"name": "prometheus-auth"}, absent="no credentials are sent"),
    ] = None
    headers: Annotated[
        dict[
            str,
            Annotated[
                str, *bounded_text(1024, r"^[^\r\n]+$", "must be one line"), about("The header's value, one line.", example="platform")
            ],
        ],
        about("Headers to send along, for tenancy.", example={"X-Scope-OrgID": "platform"}, absent="no headers", max_length=8),
    ] = Field(default={})
    tenant_label: Annotated[SeriesLabel, about("Which label of a series names the tenant.", example="namespace")] = "namespace"
    query_delay: Annotated[Duration, about("How far behind now queries ask, for sources that lag.", example="30s")] = parse_duration("0s")
    timeout: Annotated[PositiveDuration, about("How long one query may take.", example="20s")] = parse_duration("20s")


class Ratio(ApiModel):
    """Bad events over all events."""

    bad: Annotated[
        str,
        about("A plain selector of the bad events.", example='http_requests_total{code=~"5.."}', min_length=1, max_length=SELECTOR_LENGTH),
    ]
    total: Annotated[str, about("A plain selector of all events.", example="http_requests_total", min_length=1, max_length=SELECTOR_LENGTH)]


class Latency(ApiModel):
    """The share of events slower than a bound."""

    histogram: Annotated[
        str,
        about(
            "A plain selector of a classic histogram, without `_bucket`.",
            example="http_request_duration_seconds",
            min_length=1,
            max_length=SELECTOR_LENGTH,
        ),
    ]
    above: Annotated[
        str,
        about(
            "A bucket's bound, as a decimal string, in the histogram's unit; events above it are slow.",
            example="0.5",
            max_length=26,
            rules=(Rule(f"self.matches(r'{DECIMAL_PATTERN}')", 'must be a decimal number as a string, such as "0.5"'),),
            pattern=DECIMAL_PATTERN,
        ),
    ]

    @property
    def bound(self) -> Decimal:
        """The bound as an exact number."""
        return Decimal(self.above)


class Gate(ApiModel):
    """One check on metrics: exactly one of ratio, latency, increase and query."""

    rules = (
        Rule(
            "[has(self.ratio), has(self.latency), has(self.increase), has(self.query)].filter(x, x).size() == 1",
            "must have exactly one of `ratio`, `latency`, `increase` and `query`; give each check a gate of its own",
        ),
        Rule(
            "has(self.query) ? has(self.max) != has(self.min) : (has(self.max) && !has(self.min))",
            "must have `max` (a gate with `query`: exactly one of `max` and `min`)",
        ),
        Rule(
            "!has(self.consecutive) || has(self.query)",
            "must have `consecutive` only with `query`; the other kinds weigh their evidence themselves",
        ),
    )

    name: Annotated[Name, about("A unique name.", example="errors")]
    ratio: Annotated[
        Ratio | None,
        about(
            "Bad events over all events; `max` is a share.",
            example={"bad": 'http_requests_total{code=~"5.."}', "total": "http_requests_total"},
            absent="another kind is given",
        ),
    ] = None
    latency: Annotated[
        Latency | None,
        about(
            "The share of slow events; `max` is a share.",
            example={"histogram": "http_request_duration_seconds", "above": "0.5"},
            absent="another kind is given",
        ),
    ] = None
    increase: Annotated[
        str | None,
        about(
            "A plain selector of a counter; `max` is its increase per tenant since the upgrade, at most over the soak.",
            example="kube_pod_container_status_restarts_total",
            absent="another kind is given",
            min_length=1,
            max_length=SELECTOR_LENGTH,
        ),
    ] = None
    query: Annotated[
        str | None,
        about(
            "Raw PromQL, grouped by tenant; `{{ label }}` and `{{ tenants }}` are filled in. Verified, never rewritten.",
            example="max by ({{ label }}) (queue_lag_seconds{ {{ tenants }} })",
            absent="another kind is given",
            min_length=1,
            max_length=QUERY_LENGTH,
        ),
    ] = None
    max: Annotated[
        Share | None,
        about("The highest value that is still healthy: integer, decimal string or percentage.", example="1%", absent="`min` is given"),
    ] = None
    min: Annotated[
        Share | None, about("The lowest value that is still healthy; only with `query`.", example="10", absent="`max` is given")
    ] = None
    consecutive: Annotated[
        int | None, about("For `query`: how many usable ticks in a row decide.", example=3, absent="3", ge=1, le=100)
    ] = None
    mode: Annotated[GateMode | None, about("What the verdict does.", example="Observe", absent="Enforce")] = None
    tenant_label: Annotated[
        SeriesLabel | None,
        about("Which label of this gate's series names the tenant.", example="kubernetes_namespace", absent="`prometheus.tenantLabel`"),
    ] = None


class OnUnknown(ApiModel):
    """What follows when metrics cannot be used for too long."""

    after: Annotated[PositiveDuration, about("After how long without usable metrics.", example="30m")] = parse_duration("30m")
    action: Annotated[UnknownAction, about("What follows.", example="Pause")] = UnknownAction.PAUSE


class Evaluation(ApiModel):
    """How gates are evaluated."""

    interval: Annotated[PositiveDuration, about("How often; at least Prometheus' scrape interval.", example="30s")] = parse_duration("30s")
    warm_up: Annotated[Duration, about("How long after a tenant converged its metrics do not count.", example="1m")] = parse_duration("1m")
    min_coverage: Annotated[
        IntOrPercent,
        about(
            "The least share of ticks with fresh data, as a percentage.",
            example="80%",
            rules=(Rule("type(self) == string", 'must be a percentage such as "80%"'),),
        ),
    ] = Field(default=IntOrPercent(80, is_percent=True))
    on_no_data: Annotated[OnNoData, about("What happens to tenants with too little traffic.", example="Pool")] = OnNoData.POOL
    on_unknown: Annotated[
        OnUnknown, about("What follows when metrics cannot be used for too long.", example={"after": "30m", "action": "Pause"})
    ] = OnUnknown()
