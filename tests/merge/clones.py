"""Random histories of several people: clones of one registry that live on without each other, each with its own clock."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import ifpdb as ifp
from ifpdb import promotion
from ifpdb.merge.union import Merged, merge
from ifpdb.tracking import TrackedRun
from ifpdb.upkeep.chain import verify
from ifpdb.upkeep.fsck import fsck
from ifpdb.upkeep.logical import logical_digest

Clone = Callable[..., ifp.Registry]
"""A copy of ./ifp.db in a folder of its own, whose owner acts there."""
Put = Callable[..., ifp.Version]
"""Registers a whole version somewhere."""
Unite = Callable[..., Merged]
"""Merges one registry into another and checks the whole."""

MODELS = ("fraud", "churn")
SCHEMA = '{"features": [{"position": 0, "name": "a", "type": "number", "nullable": false, "min": 0, "max": 25}]}'
KINDS = ("derived_from", "fine_tuned_from")
STAGES = ("staging", "shadow", "archived", "production", "production")
TAGS = ("q1", "q2")
LABELS = ("golden", "2025-Q4")
POLICIES = ({"validation": {"min_f1": 0.1}}, {"validation": {"min_f1": 0.8}})


class World:
    """Sources, and clones named by their owner. What happens in one is drawn from `rng`, and may be refused there."""

    def __init__(self, folder: Path, rng: random.Random) -> None:
        self.folder, self.rng, self.minute = folder, rng, 0
        self.running: list[TrackedRun] = []
        for name in ("train", "other", "holdout"):
            (folder / f"{name}.csv").write_text(f"a\n{len(name)}\n")
        (folder / "holdout2.csv").write_text((folder / "holdout.csv").read_text())
        (folder / "schema.json").write_text(SCHEMA)
        for weights in "abc":
            (folder / f"{weights}.bin").write_text(weights)

    def path(self, clone: str) -> Path:
        return self.folder / clone / "ifp.db"

    def begin(self, clone: str) -> None:
        """The common past: some versions, and a run in progress."""
        (self.folder / clone).mkdir()
        ifp.init(self.path(clone)).close()
        for _ in range(self.rng.randint(3, 8)):
            self.act(clone)
        self.tick(clone)
        run = ifp.track("fraud", db=self.path(clone), params={"C": 9}, actor=clone, autocapture=False).__enter__()
        run.log_metric("loss", 1.0)
        run.log_metric("loss", 0.5)
        assert run._live is not None
        run._live.flush()
        self.running.append(run)

    def clone(self, source: str, target: str) -> None:
        """A copy as by git, without live files; or as by cp, where the copy of a run in progress looks dead."""
        shutil.copytree(self.folder / source, self.folder / target)
        if self.rng.random() < 0.6:
            shutil.rmtree(self.folder / target / "ifp.cas" / "live", ignore_errors=True)

    def end_runs(self) -> None:
        """Whoever began the runs ends them, each in its own way."""
        while self.running:
            run = self.running.pop()
            try:
                run.log_metric("loss", 0.25)
                if self.rng.random() < 0.5:
                    run.log_artifact(self.folder / "c.bin", "report")
                if self.rng.random() < 0.5:
                    run.register(self.folder / "c.bin", schema=self.folder / "schema.json", data=self.folder / "other.csv")
                if self.rng.random() < 0.5:
                    raise ValueError("on purpose")
            except ValueError as error:
                run.__exit__(ValueError, error, None)
            else:
                run.__exit__(None, None, None)

    def bury(self, clone: str) -> None:
        """Let a clone end what looks dead there, as its next writer would."""
        with ifp.open(self.path(clone), actor=clone) as registry, registry.writing():
            pass

    def tick(self, clone: str) -> None:
        """Clocks disagree, and several people do something in the same minute."""
        self.minute += self.rng.randint(0, 2)
        skewed = 60 + self.minute + {"b": -15, "c": 15}.get(clone, 0)
        os.environ["IFP_NOW"] = f"2025-01-01T{skewed // 60:02}:{skewed % 60:02}:00Z"

    def act(self, clone: str) -> None:
        """Do one thing in a clone; the registry may say no."""
        self.tick(clone)
        with ifp.open(self.path(clone), actor=clone) as registry, suppress(ifp.IfpError):
            self.rng.choice(ACTS)(self, registry)

    def some(self, registry: ifp.Registry, query: str) -> str:
        """One of the names that a query finds; one that nothing bears where it finds none."""
        return str(self.rng.choice([row["name"] for row in registry.sql(f"{query} ORDER BY 1")] or ["fraud@nothing"]))

    def run(self, registry: ifp.Registry) -> str:
        return self.some(registry, "SELECT id AS name FROM run")

    def version(self, registry: ifp.Registry) -> str:
        return self.some(registry, "SELECT model || '@' || version AS name FROM versions")


def _register(world: World, registry: ifp.Registry) -> None:
    rng = world.rng
    registry.register(
        rng.choice(MODELS),
        world.folder / rng.choice(["a.bin", "b.bin", "c.bin"]),
        data={"train": str(world.folder / "train.csv"), **rng.choice([{}, {"holdout": str(world.folder / "holdout.csv")}])},
        schema=world.folder / "schema.json",
        params={"C": rng.choice([1, 2])},
        seed=7,
        metrics=rng.choice([{}, {"f1": rng.choice([0.5, 0.9, 0.95])}]),
        derived_from=rng.choice([[], [(world.run(registry), rng.choice(KINDS))]]),
        tags=rng.sample(TAGS, rng.randint(0, 2)),
        labels=rng.sample(LABELS, rng.choice([0, 0, 0, 1])),
    )


def _track(world: World, registry: ifp.Registry) -> None:
    with ifp.track("churn", db=registry.path, actor=registry.actor, autocapture=False) as run:
        run.log_metric("loss", world.rng.random())
        run.log_artifact(world.folder / "b.bin", "notes")


def _measure(world: World, registry: ifp.Registry) -> None:
    data = world.rng.choice([None, str(world.folder / "holdout.csv"), str(world.folder / "holdout2.csv")])
    registry.measure(world.version(registry), {"f1": world.rng.choice([0.6, 0.7, 0.92])}, dataset=data)


def _link(world: World, registry: ifp.Registry) -> None:
    registry.link(world.run(registry), world.run(registry), world.rng.choice(KINDS))


def _model(world: World, registry: ifp.Registry) -> tuple[ifp.Model, str]:
    ref = world.version(registry)
    return registry.model(ref.partition("@")[0]), ref


def _promote(world: World, registry: ifp.Registry) -> None:
    model, ref = _model(world, registry)
    model.promote(ref, world.rng.choice(STAGES), force=world.rng.random() < 0.5, reason="why not")


def _rollback(world: World, registry: ifp.Registry) -> None:
    registry.model(world.rng.choice(MODELS)).rollback(reason="complaints")


def _tag(world: World, registry: ifp.Registry) -> None:
    model, ref = _model(world, registry)
    world.rng.choice([model.tag, model.untag])(ref, world.rng.choice(TAGS))


def _label(world: World, registry: ifp.Registry) -> None:
    model, ref = _model(world, registry)
    model.label(ref, world.rng.choice(LABELS))


def _say(world: World, registry: ifp.Registry) -> None:
    model, ref = _model(world, registry)
    if world.rng.random() < 0.5:
        model.approve(ref)
    else:
        model.deployed(ref, "prod-eu")


def _policy(world: World, registry: ifp.Registry) -> None:
    registry.model(world.rng.choice(MODELS)).set_policy(world.rng.choice(POLICIES))


ACTS: Sequence[Callable[[World, ifp.Registry], None]] = (
    *[_register] * 5, _track, _measure, _measure, _link, _link, _link, _promote, _promote, _rollback, _tag, _tag, _label,
    _say, _policy,
)  # fmt: skip


# -- what is asked


def answers(path: Path) -> dict[str, Any]:
    """What a registry answers, in the order in which it does."""
    with ifp.open(path, readonly=True) as registry:
        runs = registry.runs()
        models = [registry.model(one.model) for one in registry.models()]
        return _plain(
            {
                "models": [one.as_dict() for one in registry.models()],
                "versions": [[one.as_dict() for one in model.versions()] for model in models],
                "tagged": [[one.digest for one in model.versions(tag="q1")] for model in models],
                "latest": [_or_error(partial(_latest, model)) for model in models],
                "rollback": [_or_error(partial(_rollback_target, registry, model.name)) for model in models],
                "history": [[one.as_dict() for one in model.history(None)] for model in models],
                "policy": [model.policy.as_dict() if model.policy else None for model in models],
                "runs": [one.as_dict() for one in runs],
                "points": [[registry.points(one.id, name) for name in ("f1", "loss")] for one in runs],
                "lineage": [[node.as_dict() for node in registry.lineage(one.id)] for one in runs],
                "descendants": [[kin.as_dict() for kin in registry.descendants(one.id)] for one in runs],
                "dataset": _or_error(lambda: _dataset_named(registry, "holdout.csv")),
                "datasets": registry.sql("SELECT * FROM datasets ORDER BY 1, 2, 3, 4"),
                "intervals": registry.sql("SELECT * FROM stage_intervals ORDER BY model, since, event, stage, version"),
                "events": [{**one.as_dict(), "known_at": None} for one in registry.events()],
            }
        )


def _latest(model: ifp.Model) -> str:
    return model.get("latest").digest


def _rollback_target(registry: ifp.Registry, model: str) -> str:
    with registry.reading() as tx:
        key = promotion.rollback_target(tx, model)
        return str(tx.execute("SELECT sha256 FROM version WHERE key = ?", (key,)).fetchone()[0])


def _dataset_named(registry: ifp.Registry, name: str) -> str:
    with registry.reading() as tx:
        return promotion.dataset_named(tx, name)


def _or_error(ask: Callable[[], str]) -> str:
    try:
        return ask()
    except ifp.IfpError as error:
        return str(error)


def _plain(document: dict[str, Any]) -> dict[str, Any]:
    plain: dict[str, Any] = json.loads(json.dumps(document))
    return plain


def digest_of(path: Path) -> str:
    with ifp.open(path, readonly=True) as registry, registry.reading() as tx:
        return logical_digest(tx)


def problems(path: Path, *, blobs: bool) -> list[str]:
    """What is wrong with a registry; what is missing of blobs only where they are asked for."""
    with ifp.open(path) as registry:
        found = [f"{kind} {detail}" for kind, _, detail in verify(registry).problems]
        found += [f"{one.kind} {one.detail}" for one in fsck(registry).problems if blobs or one.kind != "missing"]
        off = "SELECT count(*) AS n FROM version v JOIN stage_by_log s ON s.version = v.key WHERE v.stage IS NOT s.stage"
        found += ["a stage that the log doesn't tell"] * registry.sql(off)[0]["n"]
        twice = "SELECT model AS m FROM version WHERE stage = 'production' GROUP BY model HAVING count(*) > 1"
        return found + ["two in production"] * len(registry.sql(twice))


def merged(ours: Path, theirs: Path, **given: Any) -> Merged:
    """Merge a file into another."""
    with ifp.open(ours, actor="merger") as registry:
        return merge(registry, theirs, **given)
