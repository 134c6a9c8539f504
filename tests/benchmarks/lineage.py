"""Walks over large lineage graphs (W7), next to the recursive CTE by hand on the same file."""

from __future__ import annotations

import random
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from report import Result
from stopwatch import take_turns

import ifpdb as ifp
from ifpdb.capture.schema.features import Feature, make_schema
from ifpdb.history.bisect import best_test
from ifpdb.history.blame import blame
from ifpdb.history.explain import explain
from ifpdb.ledger import ancestry, facts, runs, versions
from ifpdb.ledger import lineage as edges

WIDTH = 100
KEYS = """
    WITH RECURSIVE a(run) AS (VALUES (?) UNION SELECT e.parent FROM a JOIN edge e ON e.child = a.run)
    SELECT count(*) - 1 FROM a"""
ROWS = """
    WITH RECURSIVE a(run) AS (VALUES (?) UNION SELECT e.parent FROM a JOIN edge e ON e.child = a.run)
    SELECT r.id, v.digest, m.name FROM a JOIN run r ON r.key = a.run JOIN model m ON m.key = r.model
      LEFT JOIN version v ON v.key = r.version"""


def lineage(folder: Path, *, rounds: int, sizes: Sequence[int]) -> Iterator[Result]:
    """Full ancestry, five edges up and merge bases on layered graphs, a ladder and a chain; explain over 50 edges."""
    for size in sizes:
        yield from _walks(folder / f"layered-{size}.db", f"layers, {size:,} runs", layered(size), rounds)
    deep = min(sizes)
    yield from _walks(folder / "chain.db", f"one chain, {deep:,} runs", ([n - 1] if n else [] for n in range(deep)), rounds)
    yield from _walks(folder / "ladder.db", f"a ladder of diamonds, {deep:,} runs", ladder(deep), rounds)
    yield _explained(folder, rounds)
    yield from _blamed(folder, rounds)
    yield from _planned()


def layered(size: int) -> Iterator[list[int]]:
    """Layers of 100 runs, each run with two parents in the layer above."""
    chance = random.Random(1)
    for number in range(size):
        first = (number // WIDTH - 1) * WIDTH
        yield chance.sample(range(first, first + WIDTH), 2) if first >= 0 else []


def ladder(size: int) -> Iterator[list[int]]:
    """Rungs of two runs, each with both runs of the rung above: 2^n paths."""
    for number in range(size):
        first = (number // 2 - 1) * 2
        yield [first, first + 1] if first >= 0 else []


def load(path: Path, graph: Iterable[Sequence[int]]) -> ifp.Registry:
    """A registry of runs that registered nothing, the n-th with these parents; written past the ledger, which takes hours."""
    registry = ifp.init(path)
    with registry.writing() as (tx, by):
        tx.execute("INSERT INTO model (name) VALUES ('m')")
        generations, edges = list[int](), list[tuple[int, int, int]]()

        def rows() -> Iterator[tuple[int, str, str, int]]:
            for number, parents in enumerate(graph):
                generations.append(1 + max((generations[parent] for parent in parents), default=0))
                edges.extend((number + 1, place, parent + 1) for place, parent in enumerate(parents, 1))
                yield number + 1, f"run-{number:09}", by.now, generations[-1]

        tx.executemany(
            "INSERT INTO run (key, id, model, status, actor, started_at, generation) VALUES (?, ?, 1, 'finished', 'a', ?, ?)",
            rows(),
        )
        tx.executemany("INSERT INTO edge VALUES (?, ?, ?, 'derived_from')", edges)
    return registry


def _walks(path: Path, what: str, graph: Iterable[Sequence[int]], rounds: int) -> Iterator[Result]:
    with load(path, graph) as registry, registry.reading() as tx:
        last = tx.execute("SELECT max(key) FROM run").fetchone()[0]
        laps = take_turns(
            {
                "ifpdb": lambda _: ancestry.ancestors(tx, last),
                "rows": lambda _: tx.execute(ROWS, (last,)).fetchall(),
                "keys": lambda _: tx.execute(KEYS, (last,)).fetchone(),
            },
            rounds=rounds,
            turns=1,
        )
        count = len(ancestry.ancestors(tx, last))
        figures = f"{laps.seconds('ifpdb'):.3g} s for {count:,} records with their distance"
        ratios = laps.ratio("ifpdb", "rows"), laps.ratio("ifpdb", "keys")
        yield Result(f"full ancestry (W7), {what}, over the CTE with the same columns", "x", ratios[0], 1.1, figures)
        yield Result(f"full ancestry (W7), {what}, over the CTE that only counts", "x", ratios[1], None, "")
        near = _quickest(lambda: ancestry.ancestors(tx, last, depth=5))
        yield Result(f"ancestors to depth 5, {what}", "ms", near * 1e3, 1, "least of 20")
        base = _quickest(lambda: ancestry.merge_bases(tx, last, last - 1))
        yield Result(f"merge base of two neighbours, {what}", "ms", base * 1e3, 10, "least of 20")


def _explained(folder: Path, rounds: int) -> Result:
    """51 versions in a chain, each with its own C, data of ten columns that grows, and 30 features."""
    place = folder / "explain"
    place.mkdir()
    features = [{"position": n, "name": f"f{n}", "type": "number", "nullable": False, "min": 0, "max": n} for n in range(30)]
    with ifp.init(place / "ifp.db") as registry:
        parent = list[str]()
        for number in range(51):
            weights, data = place / "model.bin", place / "train.csv"
            weights.write_bytes(str(number).encode())
            rows = [",".join(str(row * column) for column in range(10)) for row in range(100 + number)]
            data.write_text("\n".join([",".join(f"c{column}" for column in range(10)), *rows]) + "\n")
            version = registry.register(
                "m", weights, data=data, schema=features, params={"C": number}, metrics={"f1": number / 51}, derived_from=parent
            )
            parent = [version.run]
        seconds = take_turns({"explain": lambda _: explain(registry, "m@v51", "m@v1")}, rounds=rounds, turns=5)
    return Result("explain over 50 edges", "ms", seconds.seconds("explain") * 1e3, 100, "30 features, 10 columns each")


def _blamed(folder: Path, rounds: int) -> Iterator[Result]:
    """A chain of 1,000 versions with 200 features and 20 parameters."""
    for name, what in (("root", "all back to the first"), ("each", "each brought one"), ("one", "one changes each time")):
        features = [Feature(n, f"f{n}", "number", False, 0.0, 1.0) for n in range(200)]
        with ifp.init(folder / f"blame-{name}.db") as registry:
            with registry.writing() as (tx, _by):
                _grow(tx, features, {"root": None, "each": 1, "one": 0}[name])
            seconds = take_turns({"blame": lambda _, r=registry: blame(r, "run-00999")}, rounds=rounds, turns=3).seconds(
                "blame"
            )
        yield Result(f"blame of 200 features over 1,000 versions, {what}", "ms", seconds * 1e3, 300, "20 parameters each")


def _grow(tx: sqlite3.Connection, features: list[Feature], step: int | None) -> None:
    """1,000 versions without bytes, the n-th with another range of the feature n * step; of none where that is None."""
    model, schema = facts.keep_model(tx, "m"), facts.keep_schema(tx, make_schema(features))
    manifest = '{"data":null,"schema":null,"training":{},"type":"ifp-version/1","weights":null}'
    moment, before = "2026-01-01T00:00:00.000000Z", None
    for number in range(1000):
        if step is not None:
            place = number * step % len(features)
            features[place] = replace(features[place], max=number + 2.0)
            schema = facts.keep_schema(tx, make_schema(features))
        run = runs.insert(
            tx, id=f"run-{number:05}", model=model, status="finished", actor="a", started_at=moment, seed=1, command=None,
            code=ifp.Code(),
        )  # fmt: skip
        runs.set_params(tx, run, {f"p{n}": n for n in range(20)})
        row = (model, number.to_bytes(32, "big"), manifest, number + 1, schema)
        version = tx.execute(
            "INSERT INTO version (model, digest, manifest, ordinal, schema) VALUES (?, ?, ?, ?, ?) RETURNING key", row
        ).fetchone()[0]
        versions.set_run(tx, run=run, version=version, at=moment)
        if before is not None:
            edges.link(tx, run, before, "derived_from")
        before = run


def _planned() -> Iterator[Result]:
    """The next test among 10,000 candidates, each weighed exactly."""
    graphs = {"layers": layered(10_000), "a ladder": ladder(10_000), "a chain": ([n - 1] if n else [] for n in range(10_000))}
    for name, graph in graphs.items():
        parents = dict(enumerate(graph))
        seconds = _quickest(lambda p=parents: best_test(p, p.keys(), {9_999}), 5)
        yield Result(f"bisect plans its next test, 10,000 versions, {name}", "ms", seconds * 1e3, 200, "least of 5")


def _quickest(work: Callable[[], object], times: int = 20) -> float:
    found = []
    for _ in range(times):
        start = time.perf_counter()
        work()
        found.append(time.perf_counter() - start)
    return min(found)
