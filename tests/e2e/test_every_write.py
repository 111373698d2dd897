"""S8: whichever write the operator dies at, its successor brings the tenant to the same end."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from localcluster.binaries import resolve
from localcluster.cluster import LocalCluster

from support.between import Between, Faithful
from support.cases import NEW_VERSION, Case
from support.chart import apply_chart, operator_kubeconfig, remove_chart
from support.checker import faults, look, orphans, saved_text, template_of
from support.clusters import OPERATOR_NAMESPACE
from support.crashing import chosen_seed
from support.dying import Dying, after_all_and_late_in_tenants
from support.every_write import EveryWrite
from support.meddling import Meddling, Other, OtherVersion, other_image
from support.nursery import nursery
from support.planted import NAMED, PLANTED, Scene, conflicts_planted, dict_of
from support.story import Story

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.fixture
async def every(story: Story, local_cluster: LocalCluster, tmp_path: Path) -> AsyncIterator[EveryWrite]:
    """Operators that come through a proxy, with the rights of a chart that lets them save the Secrets of tenants."""
    usual = {(body["kind"], body["metadata"]["name"]) for body in await apply_chart(story.kube, resolve("helm"), OPERATOR_NAMESPACE)}
    objects = await apply_chart(story.kube, resolve("helm"), OPERATOR_NAMESPACE, {"rbac": {"tenantSecrets": "ReadWrite"}})
    login = operator_kubeconfig(local_cluster, OPERATOR_NAMESPACE)
    async with Between(login, tmp_path) as between, nursery(login, tmp_path) as operators:
        yield EveryWrite(story, operators, between, local_cluster)
    await remove_chart(story.kube, [body for body in objects if (body["kind"], body["metadata"]["name"]) not in usual])


async def test_dying_at_every_write(every: EveryWrite) -> None:
    """Of upgrades that succeed, and of upgrades that are taken back out of their soak: same end, each object written once in each direction."""
    dying = Dying(after_all_and_late_in_tenants, every.uids, chosen_seed())
    await every.there_and_back(
        dying, through=[Case(every.name()) for _ in range(6)], back=[Case(every.name(), soak="1h") for _ in range(6)]
    )
    print(f"{every.kill_count} deaths at {len(dying.covered)} points; late writes were answered {dict(dying.late_codes)}")
    print("for no case:", *dying.nobodys, sep="\n  ")
    assert {
        "after PATCH deployments/api write",
        "late PATCH statefulsets/store write",
        "after back: DELETE leases/tenant",
    } <= dying.covered.keys()


async def test_another_writer_at_every_point(every: EveryWrite) -> None:
    """Somebody edits the ConfigMap, its annotations, the workloads and the Secret after each read and before each write: all of it stays."""
    through = await every.make(Case(every.name()) for _ in range(6))
    back = await every.make(Case(every.name(), soak="1h") for _ in range(6))
    other = Other(every.story.kube, [*through, *back])
    meddling = every.between.script = Meddling(every.uids, other.deeds)
    mark = every.cluster.audit_mark()
    operator = await every.operator()
    await every.begin([*through, *back])
    await every.end({case.upgrade: "Succeeded" for case in through} | {case.upgrade: "Soaking" for case in back})
    every.written_once(mark, [*through, *back])
    mark_back = every.cluster.audit_mark()
    meddling.phase = "back: "
    await every.abort(back)
    await every.end({case.upgrade: "Aborted" for case in back})
    await meddling.stop()
    expected = {case.name: case.upgraded() for case in through} | {case.name: every.taken_back(case, {}) for case in back}
    await every.is_well({case.name: other.seen_in(expected[case.name], case) for case in (*through, *back)}, mark)
    every.written_once(mark_back, back)
    await operator.kill()
    print(f"{len(meddling.done)} edits, each at another point", *sorted(meddling.done), sep="\n  ")
    for deed in other.deeds:
        for point in (
            "after GET configmaps/app-config and",
            "before PATCH deployments/api write",
            "back: before PATCH configmaps/app-config write",
        ):
            assert [key for key in meddling.done if key.startswith(f"{deed} {point}")], f"nobody did: {deed} {point}"


async def test_another_version_at_every_point(every: EveryWrite) -> None:
    """Somebody sets the version by hand in the midst of it: that stays, and is told; or it came before our write, and the journal has it."""
    cases = await every.make(Case(every.name(), components=("api",), hooks={}) for _ in range(20))
    script = every.between.script = OtherVersion(every.story.kube, every.uids)
    operator = await every.operator()
    await every.begin(cases)
    await every.end({case.upgrade: "Succeeded|Held|RolledBack|RollbackFailed" for case in cases})
    every.between.script = Faithful()
    seen = await look(every.story.kube, OPERATOR_NAMESPACE, [case.name for case in cases])
    await operator.kill()
    runs = {run["spec"]["tenant"]: run["status"] for run in seen.runs}
    lost = []
    for case in cases:
        found = template_of(seen.objects[case.name]["Deployment/api"])["spec"]["containers"][0]["image"]
        state, point = runs[case.name]["state"], script.points.get(case.name, "nowhere")
        print(f"{point}: {state} {runs[case.name].get('reason')}, runs {found}")
        before = [saved_text(seen, intent["before"]) or "" for intent in runs[case.name].get("intents") or [] if intent.get("before")]
        is_told = state != "Succeeded" or "Soaking" in point or "unmark" in point
        is_kept = found == other_image(case.name) and is_told
        came_before = found == case.image("api", NEW_VERSION) and any(other_image(case.name) in text for text in before)
        if point != "nowhere" and not is_kept and not came_before:
            lost.append(f"{point}: {state}, runs {found}")
    assert lost == []
    assert len(script.points) >= 12


async def test_checker_finds_what_is_planted(every: EveryWrite) -> None:
    """Each kind of loss is put once into what the checker has seen of two real tenants, and is reported; without it nothing is."""
    through, back = await every.make([Case(every.name()), Case(every.name(), soak="1h")])
    before = set(orphans(await look(every.story.kube, OPERATOR_NAMESPACE, [])))
    mark = every.cluster.audit_mark()
    await every.begin([through, back])
    operator = await every.operator()
    await every.story.until(through.upgrade, "Succeeded")
    await every.story.until(back.upgrade, "Soaking")
    await every.edit([back])
    await every.abort([back])
    await every.story.until(back.upgrade, "Aborted")
    expected = {through.name: through.upgraded(), back.name: every.taken_back(back)}
    scene = Scene(await every.is_well(expected, mark), through, back, expected)
    await operator.kill()
    assert faults(scene.seen, expected) == []
    for planted in PLANTED:
        spoilt = copy.deepcopy(scene)
        planted.change(spoilt)
        found = faults(spoilt.seen, expected)
        assert [fault for fault in found if planted.words in fault], f"{planted.name}: {planted.words!r} is not in {found}"
    for name, shown, words in conflicts_planted():
        spoilt = copy.deepcopy(scene)
        spoilt.status(through)["conflicts"] = [shown] if shown else []
        named = {through.name: dataclasses.replace(through.upgraded(), conflicts={through.upgrade: [NAMED]})}
        assert [fault for fault in faults(spoilt.seen, named) if words in fault], name
    assert set(orphans(scene.seen)) <= before, "a calm run leaves nothing that nothing names"
    spare = "snapshot-" + "0" * 64 + "-0"
    dict_of(scene.seen.saved)[spare] = {"metadata": {}, "immutable": True, "data": {"chunk": ""}}
    assert spare in orphans(scene.seen)
