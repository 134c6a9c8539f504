"""Walks over large lineage graphs (W7), next to the recursive CTE by hand on the same file."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from report import Result
from stopwatch import take_turns

import ifpdb as ifp
from ifpdb.history.explain import explain
from ifpdb.ledger import ancestry

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


def _quickest(work: Callable[[], object], times: int = 20) -> float:
    found = []
    for _ in range(times):
        start = time.perf_counter()
        work()
        found.append(time.perf_counter() - start)
    return min(found)
