"""References looked up: every form, steps and times behind them, and what is said when there is no one answer."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import ifpdb as ifp

Make = Callable[..., ifp.Version]
Clock = Callable[[str], None]


@pytest.fixture
def three(make: Make, registry: ifp.Registry) -> list[ifp.Version]:
    """v1 in production, v2 in shadow and labelled, v3 in staging."""
    made = [make(weights) for weights in "abc"]
    fraud = registry.model("fraud")
    fraud.promote("v1", "production", force=True, reason="first")
    fraud.promote("v2", "shadow")
    fraud.label("v2", "2025-Q4")
    return made


@pytest.mark.parametrize(
    ("ref", "ordinal"),
    [
        ("fraud", 1),
        ("fraud@production", 1),
        ("fraud@shadow", 2),
        ("fraud@staging", 3),
        ("fraud@latest", 3),
        ("fraud@v2", 2),
        ("fraud@2025-Q4", 2),
    ],
)
def test_a_name_finds_its_version(three: list[ifp.Version], registry: ifp.Registry, ref: str, ordinal: int) -> None:
    assert registry.resolve(ref).ordinal == ordinal


def test_a_run_and_its_unique_prefix_find_the_version(three: list[ifp.Version], registry: ifp.Registry) -> None:
    assert registry.resolve(three[1].run).digest == three[1].digest
    assert registry.resolve(three[1].run[:-1]).digest == three[1].digest


def test_a_digest_is_found_by_seven_digits_of_the_version_or_of_the_weights(
    three: list[ifp.Version], registry: ifp.Registry
) -> None:
    version = three[1]
    assert version.weights is not None
    for digest in (version.digest, version.weights.digest):
        assert registry.resolve(digest).ordinal == 2
        assert registry.resolve(digest[:14]).ordinal == 2
        assert registry.resolve(f"fraud@{digest[:15]}").ordinal == 2
        with pytest.raises(ifp.UsageError, match="7 to 64"):
            registry.resolve(digest[:13])


def test_a_digest_of_another_model_is_not_found_under_this_name(
    three: list[ifp.Version], make: Make, registry: ifp.Registry
) -> None:
    make("z", "churn")
    with pytest.raises(ifp.NotFound):
        registry.resolve(f"churn@{three[0].digest}")


@pytest.mark.parametrize(
    ("ref", "says"),
    [
        ("frauds", "did you mean 'fraud'"),
        ("fraud@2025-Q3", "did you mean '2025-Q4'"),
        ("fraud@productoin", "did you mean 'production'"),
        ("fraud@v9", "no version 'v9'"),
        ("fraud@archived", "no version of fraud is in archived"),
        ("run-zzzzzzzzzz", "there is no run"),
        ("sha256:0000000", "begin with sha256:0000000"),
    ],
)
def test_nothing_found_names_the_nearest(three: list[ifp.Version], registry: ifp.Registry, ref: str, says: str) -> None:
    with pytest.raises(ifp.NotFound, match=says):
        registry.resolve(ref)


def test_a_run_that_is_nearly_right_is_suggested(three: list[ifp.Version], registry: ifp.Registry) -> None:
    wrong = three[0].run[:-1] + "u"  # no run id has a u
    with pytest.raises(ifp.NotFound, match=three[0].run):
        registry.resolve(wrong)


def test_two_versions_in_a_stage_are_ambiguous_and_listed(three: list[ifp.Version], make: Make, registry: ifp.Registry) -> None:
    other = make("d")
    with pytest.raises(ifp.Ambiguous) as caught:
        registry.resolve("fraud@staging")
    assert three[2].digest[:19] in str(caught.value)
    assert other.digest[:19] in str(caught.value)


def test_a_prefix_of_two_runs_is_ambiguous(three: list[ifp.Version], registry: ifp.Registry) -> None:
    with registry.writing() as (tx, _by):
        tx.execute("UPDATE run SET id = 'run-aa' || key")
    with pytest.raises(ifp.Ambiguous, match="run-aa1, run-aa2, run-aa3"):
        registry.run("run-aa")


def test_weights_shared_by_two_versions_are_ambiguous(make: Make, registry: ifp.Registry) -> None:
    one, two = make("a"), make("a", params={"C": 2.0})
    assert one.weights is not None and two.weights is not None
    with pytest.raises(ifp.Ambiguous, match="2 versions"):
        registry.resolve(one.weights.digest)


def test_tilde_and_caret_walk_as_git_reads_them(make: Make, registry: ifp.Registry) -> None:
    a, b = make("a"), make("b")
    c = make("c", derived_from=a.run)
    d = make("d", derived_from=[c.run, (b.run, "merged_from")])
    expected = {
        "~0": d, "^0": d, "~": c, "^": c, "^1": c, "~1": c, "^2": b, "~2": a, "^^": a, "^1~1": a, "~1^1": a,
    }  # fmt: skip
    for steps, version in expected.items():
        assert registry.resolve(f"fraud@v4{steps}").digest == version.digest, steps
        assert registry.resolve(f"{d.run}{steps}").digest == version.digest, steps


@pytest.mark.parametrize(("steps", "says"), [("~3", "only 2"), ("^3", "has 1 parents"), ("^2", "not 2")])
def test_a_step_beyond_the_line_is_not_found(make: Make, registry: ifp.Registry, steps: str, says: str) -> None:
    make("a")
    make("b", derived_from="fraud@v1")
    make("c", derived_from="fraud@v2")
    with pytest.raises(ifp.NotFound, match=says):
        registry.resolve(f"fraud@v3{steps}")


@pytest.fixture
def dated(make: Make, clock: Clock, registry: ifp.Registry) -> list[ifp.Version]:
    """v1 in production from 10 November 2025 9:00, v2 from 14 November 12:00."""
    clock("2025-11-01")
    made = [make("a"), make("b")]
    fraud = registry.model("fraud")
    clock("2025-11-10T09:00:00Z")
    fraud.promote("v1", "production", force=True, reason="first")
    clock("2025-11-14T12:00:00Z")
    fraud.promote("v2", "production", force=True, reason="second")
    clock("2025-11-20T00:00:00Z")
    return made


@pytest.mark.parametrize(
    ("time", "ordinal"),
    [
        ("2025-11-10", 1),  # the end of that day
        ("2025-11-13", 1),
        ("2025-11-14", 2),
        ("2025-11-10T09:00:00Z", 1),  # the very instant of the entry
        ("2025-11-14T11:59:59.999999Z", 1),
        ("2025-11-14T12:00:00Z", 2),  # the very instant of the swap
        ("2025-11-14T13:00:00+02:00", 1),
        ("2025-11-14T14:00:00+02:00", 2),
        ("2025-11-14T12:00:00", 2),  # no zone means UTC
        ("7 days ago", 1),
        ("yesterday", 2),
        ("now", 2),
    ],
)
@pytest.mark.parametrize("base", ["fraud", "fraud@production"])
def test_a_time_asks_what_the_stage_held_then(
    dated: list[ifp.Version], registry: ifp.Registry, base: str, time: str, ordinal: int
) -> None:
    assert registry.resolve(f"{base}@{{{time}}}").ordinal == ordinal


def test_today_means_now_and_not_the_end_of_the_day(dated: list[ifp.Version], clock: Clock, registry: ifp.Registry) -> None:
    clock("2025-11-20T08:00:00Z")
    registry.model("fraud").promote("v2", "archived")
    clock("2025-11-20T09:00:00Z")
    with pytest.raises(ifp.NotFound):
        registry.resolve("fraud@production@{today}")
    assert registry.resolve("fraud@archived@{2025-11-15}").ordinal == 1


def test_before_the_first_promotion_the_first_is_named(dated: list[ifp.Version], registry: ifp.Registry) -> None:
    with pytest.raises(ifp.NotFound, match="2025-11-10T09:00"):
        registry.resolve("fraud@production@{2025-11-09}")


def test_steps_follow_a_time(make: Make, clock: Clock, registry: ifp.Registry) -> None:
    clock("2025-11-01")
    parent = make("a")
    make("b", derived_from=parent.run)
    registry.model("fraud").promote("v2", "production", force=True, reason="first")
    clock("2025-11-02")
    assert registry.resolve("fraud@production@{2025-11-01}~1").digest == parent.digest


def test_a_model_reads_references_without_its_name(three: list[ifp.Version], registry: ifp.Registry) -> None:
    fraud = registry.model("fraud")
    for ref in ("v2", "2025-Q4", "shadow", "fraud@v2", three[1].run, three[1].digest):
        assert fraud.get(ref).ordinal == 2
    assert fraud.get("fraud").ordinal == 1
    assert fraud.get("latest").ordinal == 3


def test_a_model_refuses_a_version_of_another(three: list[ifp.Version], make: Make, registry: ifp.Registry) -> None:
    other = make("z", "churn")
    with pytest.raises(ifp.NotFound, match="of churn, not of fraud"):
        registry.model("fraud").get(other.run)


def test_a_run_without_a_version_is_found_as_a_run_only(registry: ifp.Registry) -> None:
    with ifp.track("fraud") as run:
        pass
    assert registry.run(run.id).version is None
    with pytest.raises(ifp.NotFound, match="registered no version"):
        registry.resolve(run.id)


def test_a_seeds_own_run_id_is_found(registry: ifp.Registry, make: Make) -> None:
    make("a")
    with registry.writing() as (tx, _by):
        tx.execute("UPDATE run SET id = 'run-8832'")
    assert registry.run("run-8832").id == "run-8832"
    assert registry.run("run-88").id == "run-8832"
