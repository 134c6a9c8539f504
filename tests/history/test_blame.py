"""Blame names the run that brought each value: along chains, merges and diamonds, through runs that say nothing, and as a
naive recursion does."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import ifpdb as ifp
from ifpdb.capture.schema.features import Feature, make_schema
from ifpdb.history.blame import Origin, blame
from ifpdb.ledger import facts, lineage, runs, versions

AT = "2026-01-01T00:00:00.000000Z"


@dataclass(frozen=True, slots=True)
class Grown:
    """A run to be made: its parents by number; `features` are names with their greatest value, None is no schema."""

    parents: Sequence[int] = ()
    params: Mapping[str, Any] | None = None
    features: Mapping[str, float] | None = None
    seed: int | None = None
    packages: Mapping[str, str] | None = None
    registered: bool = True
    trained: bool = True


def grow(registry: ifp.Registry, nodes: Sequence[Grown]) -> list[str]:
    """The ids of fresh runs like these."""
    keys, names = list[int](), list[str]()
    with registry.writing() as (tx, _by):
        model = facts.keep_model(tx, "fraud")
        first = tx.execute("SELECT count(*) FROM run").fetchone()[0]
        for number, node in enumerate(nodes, first):
            names.append(f"run-{number:05}")
            given = {"model": model, "status": "finished", "actor": f"actor {number - first}", "started_at": AT}
            key = runs.insert(tx, id=names[-1], **given, seed=node.seed, command=None, code=ifp.Code())
            runs.set_params(tx, key, node.params or {})
            if node.packages is not None:
                runs.set_observed(tx, key, environment={"packages": node.packages}, code=ifp.Code())
            lineage.link_all(tx, key, [(keys[parent], "derived_from") for parent in node.parents])
            keys.append(key)
            if node.registered:
                rows = [
                    Feature(i, name, "number", False, 0, high) for i, (name, high) in enumerate((node.features or {}).items())
                ]
                schema = facts.keep_schema(tx, make_schema(rows)) if rows else None
                manifest = json.dumps({"data": None, "schema": None, "training": {} if node.trained else None, "weights": None})
                digest = f"sha256:{key:064x}"
                parts = {"manifest": manifest.encode(), "weights": None, "schema": schema}
                version = versions.insert(tx, model=model, digest=digest, **parts)
                versions.set_run(tx, run=key, version=version, at=AT)
    return names


def lr(value: Any, *parents: int, **given: Any) -> Grown:
    return Grown(parents, {"lr": value}, **given)


def brought(registry: ifp.Registry, nodes: Sequence[Grown], **asked: Any) -> dict[str, tuple[int, Any, Any]]:
    """By name, the number of the run that brought the last node's value, with what was before and after."""
    names = grow(registry, nodes)
    return {one.name: (names.index(one.run), one.before, one.after) for one in blame(registry, names[-1], **asked)}


NOTHING = Grown(registered=False)
LR: dict[str, tuple[list[Grown], tuple[int, Any, Any]]] = {
    "a root": ([lr(1)], (0, None, 1)),
    "a chain that never changed": ([lr(1), lr(1, 0), lr(1, 1)], (0, None, 1)),
    "a change in the middle": ([lr(1), lr(2, 0), lr(2, 1)], (1, 1, 2)),
    "dropped and come back": ([lr(1), Grown([0]), lr(1, 1)], (2, None, 1)),
    "changed and changed back": ([lr(1), lr(2, 0), lr(1, 1)], (2, 2, 1)),
    "a merge whose parents both have it": ([lr(1), lr(2, 0), lr(2, 0), lr(2, 1, 2)], (1, 1, 2)),
    "a merge of which neither has it": ([lr(1), lr(2, 0), lr(3, 0), lr(9, 1, 2)], (3, 2, 9)),
    "a merge whose first parent has it": ([lr(1), lr(2, 0), lr(3, 0), lr(2, 1, 2)], (1, 1, 2)),
    "a merge whose second parent has it": ([lr(1), lr(2, 0), lr(3, 0), lr(3, 1, 2)], (2, 1, 3)),
    "a diamond": ([lr(1), lr(1, 0), lr(1, 0), lr(1, 1, 2)], (0, None, 1)),
    "a diamond with one arm changed": ([lr(1), lr(2, 0), lr(1, 0), lr(1, 1, 2)], (0, None, 1)),
    "unequal arms": ([lr(1), lr(1, 0), lr(1, 1), lr(2, 0), lr(1, 3, 2)], (0, None, 1)),
    "two roots": ([lr(1), lr(1), lr(1, 1, 0)], (1, None, 1)),
    "an unregistered run that has it": ([lr(1), lr(2, 0, registered=False), lr(2, 1)], (1, 1, 2)),
    "an unregistered run that says nothing": ([lr(1), Grown([0], registered=False), lr(1, 1)], (0, None, 1)),
    "a version without a training record": ([lr(1), Grown([0], trained=False), lr(1, 1)], (0, None, 1)),
    "a silent root": ([NOTHING, lr(1, 0)], (1, None, 1)),
    "before, seen through a silent run": ([lr(1), Grown([0], registered=False), lr(2, 1)], (2, 1, 2)),
    "a silent run that merged": ([lr(1), lr(2), Grown([0, 1], registered=False), lr(2, 2)], (1, None, 2)),
    "an integer is no float": ([lr(1), lr(1.0, 0)], (1, 1, 1.0)),
    "a number is no text": ([lr("1"), lr(1, 0)], (1, "1", 1)),
    "true is not 1": ([lr(1), lr(True, 0)], (1, 1, True)),
    "true is not 1, in a list": ([lr([1]), lr([True], 0)], (1, [1], [True])),
    "an object's keys have no order": ([lr({"a": 1, "b": 2}), lr({"b": 2, "a": 1}, 0)], (0, None, {"b": 2, "a": 1})),
}


@pytest.mark.parametrize(("nodes", "expected"), LR.values(), ids=LR.keys())
def test_a_parameter_goes_back_to_the_run_that_brought_it(
    registry: ifp.Registry, nodes: list[Grown], expected: tuple[int, Any, Any]
) -> None:
    number, before, after = brought(registry, nodes, params=["lr"])["lr"]
    assert (number, before, after) == expected
    assert [type(before), type(after)] == [type(value) for value in expected[1:]]


RANGE = {"type": "number", "nullable": False, "min": 0, "max": 5, "categories": None}
FEATURES: dict[str, tuple[list[Grown], dict[str, tuple[int, Any, Any]]]] = {
    "new ones show whole": ([Grown(features={"a": 5})], {"a": (0, None, RANGE)}),
    "a moved range is a change": (
        [Grown(features={"a": 4}), Grown([0], features={"a": 5})],
        {"a": (1, {"max": 4}, {"max": 5})},
    ),
    "a position is no value": (
        [Grown(features={"a": 5, "b": 5}), Grown([0], features={"b": 5, "a": 5})],
        {"b": (0, None, RANGE), "a": (0, None, RANGE)},
    ),
    "one added beside another": (
        [Grown(features={"a": 5}), Grown([0], features={"b": 5, "a": 5})],
        {"b": (1, None, RANGE), "a": (0, None, RANGE)},
    ),
    "dropped and come back": (
        [Grown(features={"a": 5, "b": 5}), Grown([0], features={"b": 5}), Grown([1], features={"b": 5, "a": 5})],
        {"b": (0, None, RANGE), "a": (2, None, RANGE)},
    ),
    "through an unregistered run": (
        [Grown(features={"a": 4}), Grown([0], params={"lr": 1}, registered=False), Grown([1], features={"a": 5})],
        {"a": (2, {"max": 4}, {"max": 5})},
    ),
    "through a version without a schema": (
        [Grown(features={"a": 5}), Grown([0]), Grown([1], registered=False), Grown([2], features={"a": 5})],
        {"a": (0, None, RANGE)},
    ),
}


@pytest.mark.parametrize(("nodes", "expected"), FEATURES.values(), ids=FEATURES.keys())
def test_a_feature_goes_back_to_the_version_that_brought_it(
    registry: ifp.Registry, nodes: list[Grown], expected: dict[str, tuple[int, Any, Any]]
) -> None:
    found = brought(registry, nodes, features=[])
    assert found == expected
    assert list(found) == list(expected)


def test_an_integer_limit_and_the_same_real_one_are_one_value(registry: ifp.Registry) -> None:
    nodes = [Grown(features={"a": 5, "b": 1}), Grown([0], features={"a": 5.0, "b": 2})]
    assert brought(registry, nodes)["a"][0] == 0


@pytest.mark.parametrize(
    ("seeds", "expected"),
    [((7, 7), (0, None, 7)), ((7, 8), (1, 7, 8)), ((None, 8), (1, None, 8)), ((7, 2**60), (1, 7, str(2**60)))],
)
def test_a_seed_goes_back_too(registry: ifp.Registry, seeds: tuple[Any, Any], expected: tuple[int, Any, Any]) -> None:
    assert brought(registry, [Grown(seed=seeds[0]), Grown([0], seed=seeds[1])]) == {"seed": expected}


def test_a_parameter_may_be_called_seed_too(registry: ifp.Registry) -> None:
    names = grow(registry, [Grown(params={"seed": 1}, seed=7), Grown([0], params={"seed": 1}, seed=8)])
    assert [(one.part, names.index(one.run)) for one in blame(registry, names[1])] == [("param", 0), ("seed", 1)]


def test_packages_go_back_through_runs_without_an_environment(registry: ifp.Registry) -> None:
    old, new = {"numpy": "1.26", "scipy": "1.0"}, {"numpy": "2.0", "scipy": "1.0"}
    nodes = [Grown(packages=old), Grown([0], packages=new), Grown([1]), Grown([2], packages=new)]
    assert brought(registry, nodes, packages=[]) == {"numpy": (1, "1.26", "2.0"), "scipy": (0, None, "1.0")}
    assert list(brought(registry, nodes, packages=["numpy"])) == ["numpy"]


@pytest.fixture
def retrained(make: Callable[..., ifp.Version], registry: ifp.Registry, folder: Path) -> list[ifp.Version]:
    """v1, and v2 in production, which came from it with another learning rate and more rows in train.csv."""
    first = make("a", params={"C": 1.0, "lr": 0.1})
    (folder / "train.csv").write_text("amount,country\n12.5,DE\n13.5,FR\n")
    second = make("b", params={"C": 1.0, "lr": 0.2}, derived_from=first.run)
    registry.model("fraud").promote("v2", "production", approved_by="grace", reason="first", force=True)
    return [first, second]


def test_a_model_stands_for_its_production_version(registry: ifp.Registry, retrained: list[ifp.Version]) -> None:
    first, second = retrained
    found = blame(registry, "fraud")
    assert [(one.part, one.name, one.ordinal) for one in found] == [
        ("feature", "amount", 1),
        ("feature", "country", 1),
        ("param", "C", 1),
        ("param", "lr", 2),
        ("seed", "seed", 1),
    ]
    assert found[3] == Origin("param", "lr", 0.1, 0.2, second.run, second.digest, "fraud", 2, second.created_at, second.actor)
    assert {one.run for one in blame(registry, "fraud@v1")} == {first.run}


def test_a_feature_that_was_there_shows_only_what_differs(registry: ifp.Registry, make: Callable[..., ifp.Version]) -> None:
    row = {"position": 0, "name": "country", "type": "category", "categories": ["DE"]}
    first = make("a", schema=[row])
    second = make("b", schema=[row | {"categories": ["DE", "FR"]}], derived_from=first.run)
    [origin] = blame(registry, second.run, features=["country"])
    assert (origin.before, origin.after) == ({"categories": ["DE"]}, {"categories": ["DE", "FR"]})


@pytest.mark.parametrize("asked", [[], ["train"], ["train.csv"], ["train:train.csv"]])
def test_data_goes_back_by_role_and_name(registry: ifp.Registry, retrained: list[ifp.Version], asked: list[str]) -> None:
    first, second = retrained
    [origin] = blame(registry, "fraud", data=asked)
    digests = [version.data[0].digest for version in retrained]
    assert (origin.part, origin.name, origin.run) == ("data", "train:train.csv", second.run)
    assert [origin.before, origin.after] == digests
    assert blame(registry, first.run, data=asked)[0].before is None


def test_several_datasets_of_one_role_and_name_are_one_value(
    registry: ifp.Registry, make: Callable[..., ifp.Version], folder: Path
) -> None:
    for year in ("2025", "2026"):
        (folder / year).mkdir()
        (folder / year / "train.csv").write_text(f"amount\n{year}\n")
    first = make("a", data=["2025/train.csv", "2026/train.csv"])
    second = make("b", data=["2026/train.csv", "2025/train.csv"], derived_from=first.run)
    third = make("c", data=["2026/train.csv"], derived_from=second.run)
    [both], [one] = (blame(registry, version.run, data=[]) for version in (second, third))
    assert (both.run, both.after) == (first.run, sorted(dataset.digest or "" for dataset in first.data))
    assert (one.run, one.before, one.after) == (third.run, both.after, third.data[0].digest)


def test_what_is_named_is_all_that_is_answered(registry: ifp.Registry, retrained: list[ifp.Version]) -> None:
    found = blame(registry, "fraud", features=["country"], params=["lr", "C"])
    assert [one.name for one in found] == ["country", "C", "lr"]
    assert [one.name for one in blame(registry, "fraud", params=[])] == ["C", "lr"]


def test_an_unregistered_run_is_told_by_when_it_started(registry: ifp.Registry) -> None:
    names = grow(registry, [lr(2, registered=False), lr(2, 0)])
    [origin] = blame(registry, names[1])
    assert (origin.run, origin.digest, origin.ordinal, origin.at, origin.actor) == (names[0], None, None, AT, "actor 0")


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"features": ["amout"]}, r"fraud has no feature 'amout'; did you mean 'amount'\? \(ifp show fraud --json\)"),
        ({"params": ["zzz"]}, r"fraud has no parameter 'zzz' \(ifp show fraud --json\)"),
        ({"packages": ["numpy"]}, "fraud has no package 'numpy'"),
        ({"data": ["trian"]}, "fraud has no data 'trian'; did you mean 'train'"),
    ],
)
def test_what_the_version_lacks_is_not_found(
    registry: ifp.Registry, retrained: list[ifp.Version], asked: dict[str, list[str]], message: str
) -> None:
    with pytest.raises(ifp.NotFound, match=message):
        blame(registry, "fraud", **asked)


def test_a_model_without_production_is_not_found(registry: ifp.Registry, make: Callable[..., ifp.Version]) -> None:
    make("a")
    with pytest.raises(ifp.NotFound, match=r"no version of fraud is in production \(ifp ls fraud\)"):
        blame(registry, "fraud")


def test_values_that_part_meet_again(registry: ifp.Registry) -> None:
    pairs = [(1, 1), (1, 2), (2, 1), (1, 1)]
    parents = [(), (0,), (0,), (1, 2)]
    nodes = [Grown(above, {"p": p, "q": q}) for above, (p, q) in zip(parents, pairs, strict=True)]
    assert brought(registry, nodes) == {"p": (0, None, 1), "q": (0, None, 1)}


def queries(registry: ifp.Registry, ref: str) -> int:
    """How many queries it takes to blame a run."""
    asked = list[str]()
    with registry.reading() as tx:
        tx.set_trace_callback(asked.append)
    blame(registry, ref)
    with registry.reading() as tx:
        tx.set_trace_callback(None)
    return len(asked)


def test_the_walk_ends_where_every_value_is_explained(registry: ifp.Registry) -> None:
    names = grow(registry, [lr(1), *(lr(1, number) for number in range(300)), lr(2, 300), lr(2, 301)])
    assert queries(registry, names[-1]) < 30


def test_a_run_is_looked_at_once_by_values_that_met_in_it(registry: ifp.Registry) -> None:
    both = {"p": 1, "q": 1}
    chain = [Grown(), *(Grown([number], both) for number in range(100))]
    long_arm = [Grown([100], both | {"q": 2}), Grown([101], both | {"q": 2})]
    names = grow(registry, [*chain, *long_arm, Grown([100], both | {"p": 2}), Grown([102, 103], both)])
    assert queries(registry, names[-1]) < 250


def test_silent_runs_are_looked_through_once_each(registry: ifp.Registry) -> None:
    rungs = [Grown([n - 2 - n % 2, n - 1 - n % 2], registered=False) for n in range(2, 26)]
    names = grow(registry, [NOTHING, NOTHING, *rungs, lr(1, 24, 25)])
    assert blame(registry, names[-1])[0].run == names[-1]
    assert queries(registry, names[-1]) < 100


VALUES = st.sampled_from([1, 1.0, "1", True, {"x": 1, "y": 2}, {"y": 2, "x": 1}])
NODES = st.builds(
    Grown,
    params=st.dictionaries(st.sampled_from(["p", "q"]), VALUES),
    features=st.dictionaries(st.sampled_from(["a", "b", "c"]), st.integers(1, 2)),
    seed=st.sampled_from([None, 7, 8]),
    registered=st.sampled_from([True, True, True, False]),
    trained=st.booleans(),
)
DAGS = st.integers(1, 9).flatmap(
    lambda size: st.tuples(
        st.tuples(*[NODES] * size),
        st.tuples(*(st.lists(st.integers(0, max(0, n - 1)), max_size=3 if n else 0, unique=True) for n in range(size))),
    )
)


def said(node: Grown, part: str) -> dict[str, Any] | None:
    """What a run says of a part, with types; None: nothing."""
    if part == "feature":
        return dict(node.features) if node.registered and node.features else None
    if not node.params and node.seed is None and not (node.registered and node.trained):
        return None
    if part == "seed":
        return {} if node.seed is None else {"seed": node.seed}
    return {name: (type(value), value) for name, value in (node.params or {}).items()}


def knowing(nodes: Sequence[Grown], number: int, part: str) -> Iterator[int]:
    for parent in nodes[number].parents:
        if said(nodes[parent], part) is None:
            yield from knowing(nodes, parent, part)
        else:
            yield parent


def naive(nodes: Sequence[Grown], number: int, part: str, name: str) -> tuple[int, int | None]:
    """The run that brought a value, and the one that shows what was before."""
    above = list(knowing(nodes, number, part))
    here = (said(nodes[number], part) or {})[name]
    for parent in above:
        if (said(nodes[parent], part) or {}).get(name) == here:
            return naive(nodes, parent, part, name)
    return number, above[0] if above else None


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(DAGS)
def test_blame_agrees_with_a_naive_recursion(
    registry: ifp.Registry, dag: tuple[tuple[Grown, ...], tuple[list[int], ...]]
) -> None:
    nodes = [
        Grown(parents, node.params, node.features, node.seed, None, node.registered, node.trained)
        for node, parents in zip(*dag, strict=True)
    ]
    names = grow(registry, nodes)
    found = {(one.part, one.name): (names.index(one.run), one.before) for one in blame(registry, names[-1])}
    parts = {part: said(nodes[-1], part) or {} for part in ("feature", "param", "seed")}
    assert list(found) == [
        (part, name) for part, values in parts.items() for name in (values if part == "feature" else sorted(values))
    ]
    for (part, name), (number, before) in found.items():
        origin, shows = naive(nodes, len(nodes) - 1, part, name)
        old = None if shows is None else (said(nodes[shows], part) or {}).get(name)
        assert number == origin
        if part == "feature":
            assert (before or {}).get("max") == old
        else:
            assert before == (old[1] if part == "param" and old else old)
