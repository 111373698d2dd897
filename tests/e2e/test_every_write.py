"""S8: whichever write the operator dies at, its successor brings the tenant to the same end."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from localcluster.cluster import LocalCluster

from support.between import Between, Faithful
from support.cases import Case
from support.chart import operator_kubeconfig
from support.checker import faults, look, orphans
from support.clusters import OPERATOR_NAMESPACE
from support.crashing import chosen_seed
from support.dying import Dying, after_all_and_late_in_tenants
from support.every_write import EveryWrite
from support.meddling import Meddling, Other
from support.nursery import nursery
from support.planted import NAMED, PLANTED, Scene, conflicts_planted, dict_of
from support.story import Story

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture
async def every(story: Story, local_cluster: LocalCluster, tmp_path: Path) -> AsyncIterator[EveryWrite]:
    """Operators that come through a proxy, with the chart's rights."""
    login = operator_kubeconfig(local_cluster, OPERATOR_NAMESPACE)
    async with Between(login, tmp_path) as between, nursery(login, tmp_path) as operators:
        yield EveryWrite(story, operators, between, local_cluster)


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
    every.between.script = Faithful()
    expected = {case.name: case.upgraded() for case in through} | {case.name: every.taken_back(case, {}) for case in back}
    await every.is_well({case.name: other.seen_in(expected[case.name], case) for case in (*through, *back)}, mark)
    every.written_once(mark_back, back)
    await operator.kill()
    print(f"{len(meddling.done)} edits, each at another point", *sorted(meddling.done), sep="\n  ")
    assert {"own key before PATCH configmaps/app-config write", "workloads back: after GET deployments/api and"} <= {
        key.replace(" PUT", "").partition(" tenantruns")[0] for key in meddling.done
    }


async def test_checker_finds_what_is_planted(every: EveryWrite) -> None:
    """Each kind of loss is put once into what the checker has seen of two real tenants, and is reported; without it nothing is."""
    through, back = await every.make([Case(every.name()), Case(every.name(), soak="1h")])
    before = set(orphans(await look(every.story.kube, OPERATOR_NAMESPACE, [])))
    mark = every.cluster.audit_mark()
    await every.begin([through, back])
    operator = await every.operator()
    await every.story.until(through.upgrade, "Succeeded", timeout=90)
    await every.story.until(back.upgrade, "Soaking", timeout=90)
    await every.edit([back])
    await every.abort([back])
    await every.story.until(back.upgrade, "Aborted", timeout=90)
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
