"""A registry as it may be after five years: models retrained time and again, measured, approved, promoted, archived.

Everything is written by the ledger's own functions and under its triggers, in one transaction that is not flushed, so that
the chain is real; only the blobs are written without fsync.
"""

from __future__ import annotations

import os
import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import xxhash

import ifpdb as ifp
from ifpdb import digest, promotion, registration, times
from ifpdb.capture.data.table import table_digest
from ifpdb.capture.schema.features import Feature, FeatureSchema, make_schema
from ifpdb.ledger import events, facts, lineage, metrics, runs, stages, versions
from ifpdb.policyfile import from_mapping
from ifpdb.records import Artifact, Blob, Code, Column, Dataset
from ifpdb.settings import blob_folder
from ifpdb.store.blobs import BlobStore
from ifpdb.store.live import Point

MODELS = 20
FIRST_DAY = times.to_microseconds("2021-01-01T00:00:00.000000Z")
SPAN = 5 * 365 * 86_400 * 1_000_000
"""Five years, in microseconds."""

POLICY = from_mapping({"validation": {"min_f1": 0.1}, "approvals": {"required": 1}})
NEW_DATA_EVERY, NEW_CODE_EVERY, LONG_RUN_EVERY, PROMOTE_EVERY = 10, 20, 10, 25
MEASURED = 7
"""How often each version is measured after its registration."""

BINS = 20


@dataclass(frozen=True, slots=True)
class Size:
    """How large a registry is to be. Each version brings about ten events and a hundred points."""

    versions: int
    points: int = 1_000

    @classmethod
    def of(cls, versions: int) -> Size:
        return cls(versions, min(1_000, versions))


def model_name(number: int) -> str:
    return f"model-{number % MODELS:02}"


def build(path: Path, size: Size) -> Iterator[str]:
    """Make a registry at `path`; says now and then how far it is."""
    ifp.init(path, actor="builder").close()
    with closing(sqlite3.connect(path, isolation_level=None, cached_statements=256)) as connection:
        for pragma in ("foreign_keys = ON", "journal_mode = OFF", "synchronous = OFF", "cache_size = -1000000"):
            connection.execute(f"PRAGMA {pragma}")
        connection.execute("BEGIN IMMEDIATE")
        growing = _Growing(connection, BlobStore(blob_folder(path)), size)
        for number in range(size.versions):
            growing.add(number)
            if number % 5_000 == 4_999:
                yield f"{number + 1:,} versions, {path.stat().st_size / 1e6:,.0f} MB"
        connection.execute("COMMIT")


class _Growing:
    """The registry while it grows, and what the next version needs to know of those before it."""

    def __init__(self, tx: sqlite3.Connection, blobs: BlobStore, size: Size) -> None:
        self.tx, self.blobs, self.size = tx, blobs, size
        self.chance = random.Random(1)
        self.moment = FIRST_DAY
        self.keys: list[tuple[int, int]] = []  # (version, run), by number
        self.tables: dict[tuple[int, int], Dataset] = {}
        self.schemas: dict[tuple[int, int], FeatureSchema] = {}
        self.features = [Feature(n, f"feature_{n}", "number", False, 0.0, 100.0) for n in range(29)]
        self.features.append(Feature(29, "country", "category", True, categories=("DE", "ES", "FR", "IT")))
        for number in range(MODELS):
            promotion.set_policy(tx, self._by("admin"), model_name(number), POLICY)

    def add(self, number: int) -> None:
        """One more version, and what happens around it."""
        if number % 10 == 7:
            self._failed(number)
        version, run = self._register(number)
        self.keys.append((version, run))
        self._measure(number)
        if number % 3 == 0:
            self._tell("approved", number, actor="grace", reason="looks right")
        if number // MODELS % PROMOTE_EVERY == 0:
            refused = promotion.promote(
                self.tx, self._by("ada"), version, "production", reason="scheduled", approved_by=["grace"]
            )
            assert refused is None
            self._tell("deployed", number, detail={"environment": "prod-eu"})
        elif number % 10 == 3:
            stages.move(self.tx, self._by("ada"), version, "moved", to_stage="shadow")
        if number % 2:
            added = versions.add_tags(self.tx, version, ["reviewed"])
            self._tell("tagged", number, detail={"tags": added})
        self._archive(number - 3 * MODELS)

    def _by(self, actor: str) -> events.Author:
        """Whoever acts next, a little later than whoever acted last."""
        self.moment += max(1, SPAN // (self.size.versions * 12))
        return events.Author(actor, times.from_microseconds(self.moment))

    def _run(self, number: int, *, status: str = "finished") -> tuple[int, str]:
        by, id = self._by(f"person{number % 40}"), runs.new_id(self.chance.randbytes(10))
        code = Code(commit=f"{number // NEW_CODE_EVERY:040x}", dirty=False)
        key = runs.insert(
            self.tx,
            id=id,
            model=facts.keep_model(self.tx, model_name(number)),
            status=status,
            actor=by.actor,
            started_at=by.now,
            seed=number,
            command=["train.py", "--config", "config.yaml"],
            code=code,
        )
        runs.set_params(self.tx, key, _params(number))
        return key, id

    def _failed(self, number: int) -> None:
        """A run that came to nothing."""
        key, id = self._run(number, status="running")
        events.append(self.tx, self._by("ada"), "run_started", model=model_name(number), run=id, detail={"parents": []})
        by = self._by("ada")
        runs.end(self.tx, key, status="failed", at=by.now, error="ValueError: loss is NaN")
        events.append(self.tx, by, "run_ended", model=model_name(number), run=id, detail={"status": "failed"})

    def _register(self, number: int) -> tuple[int, int]:
        model = model_name(number)
        run, id = self._run(number)
        data, schema, params = self._data(number), self._schema(number), _params(number)
        packages = {f"package-{n}": f"{1 + number // 5_000}.{n}" for n in range(30)}
        surroundings = {"python": "3.12.1", "platform": "Linux", "packages": packages}
        files = tuple((f"src/part{n}.py", _digest("code", n, number // NEW_CODE_EVERY)) for n in range(8))
        code = Code(digest=digest.sha256(digest.code_body(files)), files=files)
        runs.set_observed(self.tx, run, environment=surroundings, code=code)
        runs.add_datasets(self.tx, run, data)
        points = [Point(name, data[1].digest or "", value, None, self.moment) for name, value in self._scores(number).items()]
        if number % LONG_RUN_EVERY == 0:
            points += self._curve()
        metrics.seal(self.tx, run, points)
        runs.end(self.tx, run, status="finished", at=self._by("ada").now, error=None)
        lineage.link_all(self.tx, run, self._parents(number))
        parts = registration.Parts(self._artifact(number), data, schema, params, number, code.digest, packages)
        tags = [f"team-{'abcdefghij'[number % 10]}", f"week-{number // MODELS // 5}", "weekly"]
        wishes = registration.Wishes(tags=tags, labels=[f"R{number // MODELS}"] if number // MODELS % 50 == 0 else [])
        version, _ = registration.register(
            self.tx, self._by("ada"), model=model, run=run, run_id=id, parts=parts, wishes=wishes
        )
        return version, run

    def _artifact(self, number: int) -> Artifact:
        """The weights: a small file that no other version has."""
        data = random.Random(number).randbytes(500)
        blob = Blob(digest.sha256(data), len(data), xxhash.xxh3_128_hexdigest(data))
        path = self.blobs.path(blob.digest)
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            path.write_bytes(data)
            os.chmod(path, 0o444)
        return Artifact("model", blob.digest, blob.size, "bytes", "file", True, (blob,))

    def _data(self, number: int) -> list[Dataset]:
        model, turn = number % MODELS, number // MODELS
        train = self._table("train", model, turn // NEW_DATA_EVERY)
        return [train, replace(self._table("holdout", model, turn // 250), role="holdout", name="holdout.parquet")]

    def _table(self, role: str, model: int, turn: int) -> Dataset:
        """A table of 30 columns, of which a third differ from the one before."""
        key = (model if role == "train" else model + MODELS, turn)
        if key not in self.tables:
            edges = tuple(float(n) for n in range(BINS - 1))
            columns = tuple(
                Column(
                    n, f"feature_{n}", "f64", _digest(role, model, n, turn // 3 if n % 3 else turn),
                    0, False, 0.0, 100.0 + turn, None, edges, tuple(1_000 + turn for _ in range(BINS)),
                )
                for n in range(30)
            )  # fmt: skip
            rows = 20_000 + turn * 100
            leaves = [(column.name, column.type, digest.to_bytes(column.digest)) for column in columns]
            identity = table_digest(rows, leaves)
            self.tables = {known: table for known, table in self.tables.items() if known[0] != key[0]}
            self.tables[key] = Dataset(
                role, f"{role}.parquet", identity, f"data/{role}.parquet", rows, rows * 240, "table", columns=columns
            )
        return self.tables[key]

    def _schema(self, number: int) -> FeatureSchema:
        """30 features; with each new table the range of one is another."""
        key = number % MODELS, number // MODELS // NEW_DATA_EVERY
        if key not in self.schemas:
            place = key[1] % 29
            features = [
                *self.features[:place],
                replace(self.features[place], max=100.0 + sum(key)),
                *self.features[place + 1 :],
            ]
            self.schemas = {known: schema for known, schema in self.schemas.items() if known[0] != key[0]}
            self.schemas[key] = make_schema(features)
        return self.schemas[key]

    def _scores(self, number: int) -> dict[str, float]:
        base = 0.7 + number % 997 / 5_000
        return {name: base + place / 100 for place, name in enumerate(("f1", "auc", "precision", "recall", "accuracy"))}

    def _curve(self) -> list[Point]:
        """The loss of a long training, step by step, a second apart."""
        noise, start = self.chance.random, self.moment
        return [Point("loss", "", 1 / (1 + n) + noise() / 10, n, start + n * 1_000_000) for n in range(self.size.points)]

    def _parents(self, number: int) -> list[tuple[int, str]]:
        """Mostly the version before; now and then an older one, two at once, or another model's."""
        before = number - MODELS
        if before < 0:
            return []
        found = [(self.keys[before][1], "derived_from")]
        if number % 31 == 0 and before >= 5 * MODELS:
            found = [(self.keys[before - 4 * MODELS][1], "forked_from")]
        if number % 47 == 0 and before >= 2 * MODELS:
            found.append((self.keys[before - 2 * MODELS][1], "merged_from"))
        if number % 211 == 0:
            found.append((self.keys[number - 1][1], "fine_tuned_from"))
        return list(dict.fromkeys(found))

    def _measure(self, number: int) -> None:
        """Seven measurements while it serves, as `ifp metric` writes them."""
        run = self.keys[number][1]
        values = [0.7 + self.chance.random() / 10 for _ in range(MEASURED)]
        metrics.seal(self.tx, run, [Point("live_f1", "", value, None, self.moment) for value in values])
        for value in values:
            told = {"metrics": [{"metric": "live_f1", "value": value, "dataset": None}]}
            self._tell("measured", number, detail=told)

    def _archive(self, number: int) -> None:
        if number >= 0:
            version = self.keys[number][0]
            if stages.production(self.tx, model_name(number)) != version:
                stages.move(self.tx, self._by("ada"), version, "moved", to_stage="archived")

    def _tell(
        self, kind: str, number: int, *, actor: str = "ada", reason: str | None = None, detail: digest.JSON = None
    ) -> None:
        version = self.keys[number][0]
        run, identity = versions.own_run_id(self.tx, version), versions.digest_of(self.tx, version)
        events.append(
            self.tx,
            self._by(actor),
            kind,
            model=model_name(number),
            run=run,
            version=identity,
            reason=reason,
            detail=detail,
        )


def _params(number: int) -> dict[str, digest.JSON]:
    return {f"param_{n}": [0.1, 5, "auto", True][n % 4] if n else number for n in range(10)}


def _digest(*words: object) -> str:
    return digest.sha256(" ".join(map(str, words)).encode())
