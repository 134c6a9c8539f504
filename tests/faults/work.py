"""The work that is interrupted: a few acknowledged calls each, the same in every run of one seed.

A work is a generator over a box, the folder of one registry (ifp.db, ifp.cas, the user's home). It yields a fact after
each call that returned, and only then; what it yielded is promised. Everything in the box can be failed, and nothing
outside of it: sources lie elsewhere.
"""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import controls

import ifpdb as ifp
from ifpdb import times
from ifpdb.merge.union import merge
from ifpdb.store import blobs, overlap
from ifpdb.upkeep import backup, gc

FIXTURES = Path(__file__).resolve().parent.parent / "fixtures"
SCHEMA = '{"features": [{"position": 0, "name": "amount", "type": "number", "nullable": false, "min": 0, "max": 25000}]}'


class Stopped(Exception):
    """Raised into a work by who wants to see what it leaves when it is left at this place."""


class Failed(Exception):
    """What a run's log says of any failure inside it, so that it doesn't depend on the fault."""


@dataclass(frozen=True, slots=True)
class Work:
    """What is interrupted: `prepare` fills an empty box, `steps` does the work in it."""

    prepare: Callable[[Path], None]
    steps: Callable[[Path], Iterator[str]]


def steady(box: Path, seed: int) -> None:
    """Make clock, ids and user the same in every process of this seed."""
    os.environ |= {"IFP_ACTOR": "ada", "HOME": str(box / "home"), "XDG_DATA_HOME": str(box / "home")}
    os.urandom = random.Random(seed).randbytes
    times.now = lambda: "2026-01-01T00:00:00.000000Z"
    time.time_ns = lambda: 1767225600 * 10**9
    blobs.OVERLAP_FROM = overlap.FLUSH_EVERY = 1 << 20  # so that a test's large file goes through its threads


def prepare(name: str, box: str) -> None:
    """Fill an empty box with what the work finds."""
    steady(Path(box), 0)
    WORKS[name].prepare(Path(box))


def perform(name: str, box: str, seed: int = 1, control: str = "", stop_after: int = 0) -> None:
    """Do the work and print a line for each step, 'OK …'; at the end 'NO …' for an error, 'BUG …' for a traceback.

    After `stop_after` steps, unless that is 0, the work is left by an exception.
    """
    steady(Path(box), seed)
    controls.apply(control)
    steps = WORKS[name].steps(Path(box))
    try:
        for number, fact in enumerate(steps, start=1):
            say(f"OK {fact}")
            if number == stop_after:
                steps.throw(Stopped())
    except Stopped:
        return
    except (ifp.IfpError, Failed) as error:
        said = error.__cause__ if isinstance(error, Failed) else error
        say(f"NO {type(said).__name__} {said}")
    except BaseException:
        say(f"BUG {traceback.format_exc()}")


def say(line: str) -> None:
    """Print a line, by a call that no fault strikes."""
    os.writev(1, [line.replace("\n", " | ").encode() + b"\n"])


def perform_and_vanish(name: str, box: str, after: int) -> None:
    """Do the work as `perform` does and be gone after so many steps, without leaving anything."""
    steady(Path(box), 1)
    for number, _ in enumerate(WORKS[name].steps(Path(box)), start=1):
        if number == after:
            os._exit(0)


@contextmanager
def failing_alike() -> Iterator[None]:
    """Give every failure inside a run the same name in its log."""
    try:
        yield
    except (ifp.IfpError, Stopped) as error:
        raise Failed("the disk") from error


# -- what is found


def given(box: Path) -> Path:
    """The folder of sources, beside the box."""
    folder = box.parent / "given"
    if not folder.exists():
        (folder / "saved").mkdir(parents=True)
        (folder / "train.csv").write_text("amount\n12.5\n")
        (folder / "schema.json").write_text(SCHEMA)
        for name in ("a", "b", "c"):
            (folder / name).write_bytes(name.encode() * 3000)
        (folder / "large").write_bytes(random.Random(0).randbytes(5 << 19))
        (folder / "saved" / "weights").write_bytes(b"w" * 3000)
        (folder / "saved" / "config").write_bytes(b"c" * 300)
    return folder


def nothing(box: Path) -> None:
    given(box)


def two_versions(box: Path) -> None:
    """fraud v1 in production; v2 in staging, which the gate would let in."""
    with ifp.init(box / "ifp.db") as registry:
        register(registry, given(box) / "a", f1=0.91)
        registry.model("fraud").set_policy({"validation": {"min_f1": 0.9}})
        registry.model("fraud").promote("v1", "production", approved_by="grace")
        register(registry, given(box) / "b", f1=0.95)


def both_were_in_production(box: Path) -> None:
    two_versions(box)
    with ifp.open(box / "ifp.db") as registry:
        registry.model("fraud").promote("v2", "production", approved_by="grace")


def a_dead_run(box: Path) -> None:
    """A run whose process was killed after its points were written down; its tail was cut off."""
    two_versions(box)
    run = ifp.track("fraud", db=box / "ifp.db", autocapture=False).__enter__()
    for step in range(20):
        run.log_metric("loss", 1 / (step + 1), step)
    assert run._live is not None
    run._live.flush()
    with open(run._live.path, "ab") as file:
        file.write(b"loss\t\t0.0")


def garbage(box: Path) -> None:
    """Bytes that nothing names, and what a writer that is gone has left."""
    two_versions(box)
    store = blobs.BlobStore(box / "ifp.cas")
    for number in range(4):
        store.put_bytes(b"garbage" * number, name="garbage", format="bytes")
    (store.root / "tmp" / "999999999-left").write_bytes(b"half")


def an_older_backup(box: Path) -> None:
    two_versions(box)
    with ifp.open(box / "ifp.db") as registry:
        backup.backup(registry, box / "copy")
        register(registry, given(box) / "c", f1=0.97)


def a_clone_went_on(box: Path) -> None:
    """Somebody else's clone registered a version and a folder, and promoted what ours archived."""
    two_versions(box)
    (box / "theirs").mkdir()
    shutil.copytree(box / "ifp.cas", box / "theirs" / "ifp.cas")
    with ifp.open(shutil.copy(box / "ifp.db", box / "theirs"), actor="bob") as registry:
        register(registry, given(box) / "c", f1=0.97)
        register(registry, given(box) / "saved", f1=0.98)
        registry.model("fraud").promote("v2", "production", approved_by="grace")
        registry.model("fraud").label("v2", "golden")
        registry.measure("fraud@v1", {"auc": 0.7})
    with ifp.open(box / "ifp.db") as registry:
        registry.model("fraud").promote("v2", "archived")
        registry.measure("fraud@v1", {"auc": 0.8})


def an_old_registry(box: Path) -> None:
    """What schema 1 left, with the bytes of its versions."""
    given(box)
    with closing(sqlite3.connect(box / "ifp.db", isolation_level=None)) as connection:
        script = "".join((FIXTURES / f"{part}-1.sql").read_text() for part in ("schema", "registry"))
        connection.executescript(f"BEGIN;{script}COMMIT;")
    store = blobs.BlobStore(box / "ifp.cas")
    for data in (b"a", b"b", b"c", b"d", b"z"):
        store.put_bytes(data, name="model", format="bytes")


def register(registry: ifp.Registry, path: Path, *, c: float = 1.0, **metrics: float) -> ifp.Version:
    """Register a whole version of fraud."""
    data, schema = path.with_name("train.csv"), path.with_name("schema.json")
    return registry.register("fraud", path, data=data, schema=schema, params={"C": c}, seed=7, metrics=metrics)


# -- what is done


def init(box: Path) -> Iterator[str]:
    with ifp.init(box / "ifp.db"):
        yield "a registry"


def register_file(box: Path) -> Iterator[str]:
    with ifp.open(box / "ifp.db") as registry:
        yield register(registry, given(box) / "c", f1=0.97).digest


def register_known_bytes(box: Path) -> Iterator[str]:
    with ifp.open(box / "ifp.db") as registry:
        yield register(registry, given(box) / "b", c=2.0).digest


def register_large(box: Path) -> Iterator[str]:
    with ifp.open(box / "ifp.db") as registry:
        yield register(registry, given(box) / "large", f1=0.97).digest


def register_folder(box: Path) -> Iterator[str]:
    with ifp.open(box / "ifp.db") as registry:
        yield register(registry, given(box) / "saved", f1=0.97).digest


def track(box: Path) -> Iterator[str]:
    run = ifp.track("fraud", db=box / "ifp.db", params={"C": 3}, seed=7, data=given(box) / "train.csv", autocapture=False)
    with run, failing_alike():
        yield run.id
        for step in range(20):
            run.log_metric("loss", 1 / (step + 1), step)
        assert run._live is not None
        run._live.flush()  # as its thread does twice a second
        yield "twenty points"
        run.log_metric("f1", 0.97)
        yield "another"
        yield run.register(Counter(a=1), schema=given(box) / "schema.json").digest
    yield "the end of the run"


def log_artifact(box: Path) -> Iterator[str]:
    with ifp.track("fraud", db=box / "ifp.db", autocapture=False) as run, failing_alike():
        yield run.id
        yield run.log_artifact(given(box) / "c", "report").digest
    yield "the end of the run"


def promote(box: Path) -> Iterator[str]:
    with ifp.open(box / "ifp.db") as registry:
        yield registry.model("fraud").promote("v2", "production", reason="better", approved_by="grace").stage


def rollback(box: Path) -> Iterator[str]:
    with ifp.open(box / "ifp.db") as registry:
        yield registry.model("fraud").rollback(reason="complaints", to="v1").stage


def name(box: Path) -> Iterator[str]:
    with ifp.open(box / "ifp.db") as registry:
        fraud = registry.model("fraud")
        yield fraud.tag("v1", "audited", "q4").digest
        yield fraud.label("v2", "2026-Q1").digest


def measure(box: Path) -> Iterator[str]:
    with ifp.open(box / "ifp.db") as registry:
        yield registry.measure("fraud@v1", {"auc": 0.8, "f1": 0.92}).digest


def tag(box: Path) -> Iterator[str]:
    with ifp.open(box / "ifp.db") as registry:
        yield registry.model("fraud").tag("v1", "audited").digest


def collect(box: Path) -> Iterator[str]:
    gc.LEFTOVER = 0.0
    with ifp.open(box / "ifp.db") as registry:
        yield f"{len(gc.collect(registry, delete=True, grace=0.0).garbage)} files are gone"


def unite(box: Path) -> Iterator[str]:
    with ifp.open(box / "ifp.db") as registry:
        theirs = box / "theirs" / "ifp.db"
        found = merge(registry, theirs, prefer=["theirs"], reason="it is better")
        if found.blobs.damaged:  # it said so, and went on; who merges again gets what can be read by now
            merge(registry, theirs)
        yield f"{found.versions} versions"


def back_up(box: Path) -> Iterator[str]:
    with ifp.open(box / "ifp.db") as registry:
        yield backup.backup(registry, box / "copy").digest


WORKS = {
    "init": Work(nothing, init),
    "register": Work(two_versions, register_file),
    "register known bytes": Work(two_versions, register_known_bytes),
    "register large": Work(two_versions, register_large),
    "register folder": Work(two_versions, register_folder),
    "track": Work(two_versions, track),
    "log_artifact": Work(two_versions, log_artifact),
    "promote": Work(two_versions, promote),
    "rollback": Work(both_were_in_production, rollback),
    "tag, label": Work(two_versions, name),
    "measure": Work(two_versions, measure),
    "seal": Work(a_dead_run, tag),
    "gc": Work(garbage, collect),
    "backup": Work(an_older_backup, back_up),
    "merge": Work(a_clone_went_on, unite),
    "migrate": Work(an_old_registry, tag),
}
