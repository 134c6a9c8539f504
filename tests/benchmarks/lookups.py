"""Questions to a registry of 1,000 and of 100,000 versions of one model (W6), next to the same SQL by hand."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from material import MODEL, POLICY, facts, write_data
from raw import Raw
from report import Result
from stopwatch import Laps, take_turns

import ifpdb as ifp
from ifpdb import registration
from ifpdb.capture.data.dataset import describe_all
from ifpdb.capture.schema.features import read_schema
from ifpdb.ledger import facts as ledger
from ifpdb.ledger import metrics as series
from ifpdb.ledger import runs
from ifpdb.records import Artifact, Blob, Code
from ifpdb.store.live import Point

LIMIT = 2.0
"""Times raw SQL that each question may take."""

MOVED = "move the stage"


def lookups(folder: Path, *, rounds: int, turns: int, sizes: tuple[int, int]) -> Iterator[Result]:
    """By stage, the latest 20, by tag and metric, and moving the stage; and how flat each is in the number of versions."""
    measured: dict[int, dict[str, Laps]] = {}
    for size in sizes:
        place = folder / str(size)
        place.mkdir()
        raw, model = _load(place, size)
        measured[size] = _ask(raw, model, size, rounds, turns)
        for question, laps in measured[size].items():
            ratios = laps.ratios("ifpdb", "raw")
            figures = f"{_say(laps.seconds('ifpdb'))}; raw {_say(laps.seconds('raw'))} [{ratios[0]:.2f}–{ratios[-1]:.2f}]"
            yield Result(f"{question}, {size:,} versions (W6)", "x", laps.ratio("ifpdb", "raw"), LIMIT, figures)
    small, large = (measured[size] for size in sizes)
    for question in small:
        growth = large[question].seconds("ifpdb") / small[question].seconds("ifpdb")
        by_hand = large[question].seconds("raw") / small[question].seconds("raw")
        work = f"{question}: {sizes[1]:,} over {sizes[0]:,} versions"
        yield Result(work, "x", growth, None, f"raw grows {by_hand:.2f} x")


def _ask(raw: Raw, model: ifp.Model, size: int, rounds: int, turns: int) -> dict[str, Laps]:
    registry, held = model.registry, f"{MODEL}@production"
    pairs = {
        "resolve by stage": (lambda _: registry.resolve(held), lambda _: raw.held(MODEL, "production")),
        "latest 20": (lambda _: model.versions(limit=20), lambda _: raw.newest(MODEL, 20)),
        "tag + metric, newest 100": (
            lambda _: model.versions(tag="team-a", where="acc > 0.95", limit=100),
            lambda _: raw.search(MODEL, "team-a", "acc", 0.95, 100),
        ),
        MOVED: (
            lambda turn: model.promote(f"v{size // 2 + turn % 2}", "production", reason="benchmark"),
            lambda turn: raw.promote(MODEL, "production", size // 2 + turn % 2),
        ),
    }
    return {
        question: take_turns({"ifpdb": ours, "raw": theirs}, rounds=rounds, turns=turns)
        for question, (ours, theirs) in pairs.items()
    }


def _say(seconds: float) -> str:
    return f"{seconds * 1e6:.0f} µs" if seconds < 0.001 else f"{seconds * 1e3:.2f} ms"


def _load(place: Path, size: int) -> tuple[Raw, ifp.Model]:
    """Both registries with `size` versions and no bytes; two of them have been in production."""
    raw, registry = Raw(place), ifp.init(place / "ifp.db")
    raw.load(MODEL, ((_weights(number).hex(), facts(number)) for number in range(size)))
    register_all(registry, place, range(size))
    model = registry.model(MODEL)
    model.set_policy(POLICY)
    for number in (size // 2, size // 2 + 1):
        model.promote(f"v{number}", "production")
        raw.promote(MODEL, "production", number)
    return raw, model


def _weights(number: int) -> bytes:
    return hashlib.sha256(str(number).encode()).digest()


def register_all(registry: ifp.Registry, place: Path, numbers: Iterable[int]) -> None:
    """As `Registry.register` does, in one transaction and without files: 100,000 commits would take minutes."""
    data, schema = write_data(place)
    described, features = describe_all(data, project=registry.project), read_schema(schema)
    with registry.writing() as (tx, by):
        key = ledger.keep_model(tx, MODEL)
        for number in numbers:
            digest = _weights(number)
            params, values, tags = facts(number)
            blob = Blob(f"sha256:{digest.hex()}", 1000, digest[:16].hex())
            artifact = Artifact("model", blob.digest, blob.size, "bytes", "file", True, (blob,))
            id = runs.new_id(os.urandom(10))
            run = runs.insert(
                tx,
                id=id,
                model=key,
                status="finished",
                actor=by.actor,
                started_at=by.now,
                seed=1,
                command=None,
                code=Code(),
            )
            runs.set_params(tx, run, params)
            runs.add_datasets(tx, run, described)
            series.seal(tx, run, [Point(name, "", value, None, 1) for name, value in values.items()])
            parts = registration.Parts(artifact, described, features, params, 1)
            wishes = registration.Wishes(tags=tags)
            registration.register(tx, by, model=MODEL, run=run, run_id=id, parts=parts, wishes=wishes)
