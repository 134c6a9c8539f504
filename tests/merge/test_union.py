"""What becomes of each thing that two people may do to one registry without each other."""

from __future__ import annotations

import importlib
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from clones import Clone, Put, Unite, answers, digest_of, problems

import ifpdb as ifp
from ifpdb.errors import Conflict, UsageError
from ifpdb.merge.union import merge
from ifpdb.store import blobs
from ifpdb.upkeep import backup

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures"
Clock = Callable[[str], None]


def both_ways(unite: Unite, ours: ifp.Registry, theirs: ifp.Registry) -> None:
    """Each learns of the other, and then they are alike."""
    unite(ours, theirs)
    unite(theirs, ours)
    assert digest_of(ours.path) == digest_of(theirs.path)
    assert answers(ours.path) == answers(theirs.path)


# -- runs


def started(registry: ifp.Registry) -> Any:
    """A run in progress, with two points in its file."""
    run = ifp.track("fraud", db=registry.path, params={"C": 1}, autocapture=False).__enter__()
    run.log_metric("loss", 1.0)
    run.log_metric("loss", 0.5)
    assert run._live is not None
    run._live.flush()
    return run


def test_a_run_in_progress_there_comes_as_one_in_progress(two: ifp.Registry, clone: Clone, unite: Unite) -> None:
    theirs = clone("bob")
    run = started(theirs)
    assert unite(two, theirs).running == (run.id,)
    assert run._live.path.exists()
    assert two.run(run.id).status == "running"
    run.__exit__(None, None, None)
    assert unite(two, theirs).running == ()
    assert two.run(run.id).status == "finished"
    assert len(two.points(run.id, "loss")) == 2
    both_ways(unite, two, theirs)


def test_a_run_that_ended_here_stays_ended_whatever_a_copy_thinks(two: ifp.Registry, clone: Clone, unite: Unite) -> None:
    run = started(two)
    theirs = clone("bob")
    theirs.model("fraud").tag("v1", "audited")
    run.log_artifact(two.project / "train.csv", "data")
    run.__exit__(None, None, None)
    assert unite(two, theirs).running == ()
    assert two.run(run.id).status == "finished"
    both_ways(unite, two, theirs)
    assert set(theirs.run(run.id).artifacts) == {"data"}


@pytest.mark.parametrize("killed_last", [False, True])
def test_a_run_that_a_copy_took_for_dead_has_ended_as_its_own_process_says(
    two: ifp.Registry, clone: Clone, unite: Unite, clock: Clock, killed_last: bool
) -> None:
    clock("2026-01-01T10:00:00Z")
    run = started(two)
    theirs = clone("bob")
    (theirs.blobs.root / "live").mkdir()
    (theirs.blobs.root / "live" / f"{run.id}.points").write_bytes(run._live.path.read_bytes())
    clock("2026-01-01T13:00:00Z" if killed_last else "2026-01-01T11:00:00Z")
    theirs.model("fraud").tag("v1", "audited")
    assert theirs.run(run.id).status == "killed"
    clock("2026-01-01T12:00:00Z")
    run.log_metric("loss", 0.25)
    made = run.register(two.project / "model.bin", data="train.csv", schema="schema.json")
    run.__exit__(None, None, None)
    both_ways(unite, two, theirs)
    assert theirs.run(run.id).status == "finished"
    assert theirs.resolve(f"fraud@{made.digest}").weights == made.weights
    assert [value for _, value, _ in theirs.points(run.id, "loss")] == [1.0, 0.5, 0.25]


def test_points_that_both_sides_logged_for_one_run_are_united_by_time(
    two: ifp.Registry, clone: Clone, unite: Unite, clock: Clock
) -> None:
    theirs = clone("bob")
    clock("2026-01-01T10:00:00Z")
    two.measure("fraud@v1", {"auc": 0.8})
    clock("2026-01-01T11:00:00Z")
    theirs.measure("fraud@v1", {"auc": 0.7, "rmse": 3.0})
    clock("2026-01-01T12:00:00Z")
    two.measure("fraud@v1", {"f1": 0.5})
    both_ways(unite, two, theirs)
    run = two.resolve("fraud@v1").run
    assert [value for _, value, _ in two.points(run, "auc")] == [0.8, 0.7]
    assert two.resolve("fraud@v1").metrics == {"auc": 0.7, "f1": 0.5, "rmse": 3.0}
    before = digest_of(two.path)
    assert unite(two, theirs).events == 0
    assert digest_of(two.path) == before


def test_two_measurements_of_the_same_microsecond_are_both_kept(
    two: ifp.Registry, clone: Clone, unite: Unite, clock: Clock
) -> None:
    theirs = clone("bob")
    clock("2026-01-01T10:00:00Z")
    for value in (0.1, 0.3, 0.2):
        two.measure("fraud@v1", {"auc": value})
    clock("2026-01-01T10:00:00Z")
    for value in (0.3, 0.2, 0.1):
        theirs.measure("fraud@v1", {"auc": value})
    both_ways(unite, two, theirs)
    assert len(two.points(two.resolve("fraud@v1").run, "auc")) == 6


def test_the_same_data_measured_under_two_names_is_called_alike(
    two: ifp.Registry, clone: Clone, unite: Unite, folder: Path
) -> None:
    theirs = clone("bob")
    for name in ("b", "a"):
        (folder / f"{name}.csv").write_text("amount\n1\n")
    two.measure("fraud@v1", {"auc": 0.8}, dataset=str(folder / "b.csv"))
    theirs.measure("fraud@v1", {"auc": 0.7}, dataset=str(folder / "a.csv"))
    both_ways(unite, two, theirs)
    assert [one.name for one in two.resolve("fraud@v1").data] == ["train.csv", "a.csv"]


def test_code_that_only_a_manifest_names_comes_along(
    two: ifp.Registry, clone: Clone, unite: Unite, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = clone("bob")
    for name in ("earlier_code", "later_code"):
        (folder / "bob" / f"{name}.py").write_text(f"name = '{name}'\n")
    monkeypatch.syspath_prepend(str(folder / "bob"))
    with ifp.track("fraud", db=theirs.path, params={"C": 1}) as run:
        importlib.import_module("earlier_code")
        made = run.register(folder / "model.bin", data="train.csv", schema="schema.json")
        importlib.import_module("later_code")
    for name in ("earlier_code", "later_code"):
        del sys.modules[name]
    both_ways(unite, two, theirs)
    assert two.resolve(f"fraud@{made.digest}").code.files


# -- versions


@pytest.mark.parametrize("ours_first", [True, False])
def test_the_same_four_parts_on_both_sides_are_one_version_of_two_runs(
    two: ifp.Registry, clone: Clone, put: Put, unite: Unite, clock: Clock, ours_first: bool
) -> None:
    theirs = clone("bob")
    clock("2026-01-01T11:00:00Z")
    put(two, "x", params={"C": 8})
    mine = put(two, "same")
    clock("2026-01-01T12:00:00Z" if ours_first else "2026-01-01T10:00:00Z")
    yours = put(theirs, "same")
    assert (mine.digest, mine.ordinal, yours.ordinal) == (yours.digest, 4, 3)
    both_ways(unite, two, theirs)
    first, second = (mine, yours) if ours_first else (yours, mine)
    for registry in (two, theirs):
        found = registry.resolve(f"fraud@{mine.digest}")
        assert (found.ordinal, found.run, found.runs) == (first.ordinal, first.run, (first.run, second.run))


def test_versions_of_the_same_number_stay_and_are_told_apart_by_digest(
    two: ifp.Registry, clone: Clone, put: Put, unite: Unite
) -> None:
    theirs = clone("bob")
    mine, yours = put(two, "mine"), put(theirs, "yours")
    assert mine.ordinal == yours.ordinal == 3
    both_ways(unite, two, theirs)
    with pytest.raises(ifp.Ambiguous) as caught:
        two.resolve("fraud@v3")
    assert mine.digest[:19] in str(caught.value)
    assert yours.digest[:19] in str(caught.value)
    assert put(two, "next").ordinal == 4
    assert two.resolve("fraud@latest").ordinal == 4


def test_a_folder_that_came_by_way_of_another_clone_has_all_its_files(
    two: ifp.Registry, clone: Clone, unite: Unite, folder: Path, parts: dict[str, Any]
) -> None:
    bob, carol = clone("bob"), clone("carol")
    (folder / "saved").mkdir()
    (folder / "saved" / "weights").write_text("w")
    (folder / "saved" / "config").write_text("c")
    made = carol.register("fraud", folder / "saved", **parts)
    assert unite(bob, carol).blobs.count == 3
    assert unite(two, bob).blobs.count == 3
    backup.backup(two, folder / "copy")
    with ifp.open(folder / "copy" / "ifp.db") as copied:
        assert sorted(path.name for path in copied.checkout(f"fraud@{made.digest}", folder / "out").iterdir()) == [
            "config",
            "weights",
        ]


# -- names and lineage


def test_tags_are_what_the_newest_event_on_each_says(two: ifp.Registry, clone: Clone, unite: Unite, clock: Clock) -> None:
    theirs = clone("bob")
    clock("2026-01-01T10:00:00Z")
    theirs.model("fraud").untag("v1", "q1")
    theirs.model("fraud").tag("v2", "theirs", "both")
    clock("2026-01-01T11:00:00Z")
    two.model("fraud").untag("v1", "q1")
    two.model("fraud").tag("v1", "q1")
    two.model("fraud").tag("v2", "both")
    clock("2026-01-01T12:00:00Z")
    theirs.model("fraud").untag("v2", "both")
    both_ways(unite, two, theirs)
    assert two.resolve("fraud@v1").tags == ("q1",)
    assert two.resolve("fraud@v2").tags == ("theirs",)


def test_a_label_that_one_side_moved_is_where_that_side_put_it(two: ifp.Registry, clone: Clone, unite: Unite) -> None:
    theirs = clone("bob")
    theirs.model("fraud").label("v2", "2025-Q4")
    two.model("fraud").tag("v1", "audited")
    both_ways(unite, two, theirs)
    assert two.resolve("fraud@2025-Q4").ordinal == 2


def test_of_two_links_that_go_both_ways_the_first_stands_and_the_other_is_told(
    two: ifp.Registry, clone: Clone, put: Put, unite: Unite, clock: Clock
) -> None:
    put(two, "c")
    v1, v3 = two.resolve("fraud@v1").run, two.resolve("fraud@v3").run
    theirs = clone("bob")
    clock("2026-01-01T10:00:00Z")
    theirs.link("fraud@v3", "fraud@v1")
    clock("2026-01-01T11:00:00Z")
    two.link("fraud@v1", "fraud@v3")
    assert unite(two, theirs).without_effect == (f"{v3} came from {v1}: the edge would close a cycle",)
    unite(theirs, two)
    assert digest_of(two.path) == digest_of(theirs.path)
    assert [kin.run for kin in two.ancestors(v3)] == [v1]
    assert two.ancestors(v1) == []


def test_one_pair_linked_in_two_kinds_has_the_first(
    two: ifp.Registry, clone: Clone, put: Put, unite: Unite, clock: Clock
) -> None:
    put(two, "c")
    theirs = clone("bob")
    clock("2026-01-01T10:00:00Z")
    theirs.link("fraud@v3", "fraud@v1", "fine_tuned_from")
    clock("2026-01-01T11:00:00Z")
    two.link("fraud@v3", "fraud@v1", "distilled_from")
    assert len(unite(two, theirs).without_effect) == 1
    unite(theirs, two)
    assert digest_of(two.path) == digest_of(theirs.path)
    assert [parent.kind for parent in two.resolve("fraud@v3").parents] == ["fine_tuned_from"]


def test_parents_stand_in_the_order_of_the_log_on_both_sides(
    two: ifp.Registry, clone: Clone, put: Put, unite: Unite, clock: Clock
) -> None:
    put(two, "c")
    theirs = clone("bob")
    clock("2026-01-01T11:00:00Z")
    two.link("fraud@v3", "fraud@v1")
    two.link("fraud@v3", "fraud@v2")
    clock("2026-01-01T10:00:00Z")
    theirs.link("fraud@v3", "fraud@v2")
    both_ways(unite, two, theirs)
    first = two.resolve("fraud@v2").run
    assert two.resolve("fraud@v3").parents[0].run == theirs.resolve("fraud@v3").parents[0].run == first


# -- whole registries


def test_unrelated_registries_become_one_and_that_is_said(two: ifp.Registry, put: Put, unite: Unite, folder: Path) -> None:
    (folder / "bob").mkdir()
    with ifp.init(folder / "bob" / "ifp.db", actor="bob") as theirs:
        put(theirs, "z", "churn")
        found = unite(two, theirs)
        assert (found.related, found.versions) == (False, 1)
        unite(theirs, two)
        assert digest_of(two.path) == digest_of(theirs.path)


def test_a_registry_and_itself_are_no_merge(two: ifp.Registry, folder: Path) -> None:
    (folder / "link.db").symlink_to(two.path)
    for path in (two.path, folder / "link.db"):
        with pytest.raises(UsageError, match="itself"):
            merge(two, path)


def test_an_older_schema_is_merged_both_ways(two: ifp.Registry, folder: Path, unite: Unite) -> None:
    (folder / "old").mkdir()
    with closing(sqlite3.connect(folder / "old" / "ifp.db", isolation_level=None)) as connection:
        script = "".join((FIXTURES / f"{part}-1.sql").read_text() for part in ("schema", "registry"))
        connection.executescript(f"BEGIN;{script}COMMIT;")
    store = blobs.BlobStore(folder / "old" / "ifp.cas")
    for data in (b"a", b"b", b"c", b"d", b"z"):
        store.put_bytes(data, name="model", format="bytes")
    before = (folder / "old" / "ifp.db").read_bytes()
    merge(two, folder / "old" / "ifp.db", prefer=["ours"])
    assert (folder / "old" / "ifp.db").read_bytes() == before
    with ifp.open(folder / "old" / "ifp.db") as old:
        merge(old, two.path)
        assert digest_of(two.path) == digest_of(old.path)
        assert problems(two.path, blobs=False) == problems(old.path, blobs=False) == []


def test_rows_of_which_the_bytes_are_gone_get_them_from_the_other_side(two: ifp.Registry, clone: Clone, unite: Unite) -> None:
    theirs = clone("bob")
    weights = two.resolve("fraud@v1").weights
    assert weights is not None
    two.blobs.path(weights.digest).unlink()
    assert unite(two, theirs).blobs.count == 1
    assert two.blobs.read(weights.digest) == b"a"


def test_another_run_of_the_same_id_is_a_conflict(two: ifp.Registry, put: Put, folder: Path, clock: Clock) -> None:
    (folder / "bob").mkdir()
    name = two.resolve("fraud@v1").run
    with ifp.init(folder / "bob" / "ifp.db", actor="bob") as theirs, pytest.MonkeyPatch.context() as patch:
        patch.setattr("ifpdb.ledger.runs.new_id", lambda _: name)
        put(theirs, "z")
        with pytest.raises(Conflict, match=f"{name} is another run here"):
            merge(two, theirs.path)
