"""What a merge must come to, by plain Python over the events and points of every clone: the newest event wins."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

import ifpdb as ifp
from ifpdb.store import series

Events = dict[str, dict[str, Any]]
PARENTS = ("run_started", "registered")


def log(path: Path) -> Events:
    """The events of a registry by id."""
    with ifp.open(path, readonly=True) as registry:
        rows = registry.sql("SELECT 'sha256:' || lower(hex(id)) AS id, body FROM event")
        return {row["id"]: json.loads(row["body"]) for row in rows}


def in_order(events: Events) -> list[dict[str, Any]]:
    return [events[id] for id in sorted(events, key=lambda one: (events[one]["at"], one))]


def union(logs: Iterable[Events]) -> Events:
    return {id: event for one in logs for id, event in one.items()}


# -- state


def holders(events: Events) -> dict[str, str | None]:
    """The version that each model has in production: who enters has it, until another enters or it leaves."""
    found = dict[str, str | None]()
    for event in in_order(events):
        if event.get("to_stage") == "production":
            found[event["model"]] = event["version"]
        elif "to_stage" in event and found.get(event["model"]) == event["version"]:
            found[event["model"]] = None
    return found


def state(events: Events) -> dict[str, Any]:
    """What the log says of stages, names, policies, lineage and how runs ended."""
    stages, tags, labels, policies = dict[str, str](), set[str](), dict[str, str](), dict[str, str]()
    edges, ended, registered = dict[str, list[list[str]]](), dict[str, str](), dict[str, list[str]]()
    held, seen = dict[str, str](), set[str]()
    for event in in_order(events):
        model, detail, place = str(event.get("model")), event["detail"], f"{event.get('model')} {event.get('version')}"
        if to := event.get("to_stage"):
            if to == "production" and held.get(model, place) != place:
                stages[held[model]] = "archived"
            if to == "production":
                held[model] = place
            elif held.get(model) == place:
                del held[model]
            stages[place] = to
        if event["kind"] in ("registered", "tagged"):
            tags |= {f"{place} {tag}" for tag in detail["tags"]}
        if event["kind"] == "untagged":
            tags -= {f"{place} {tag}" for tag in detail["tags"]}
        for label in [*detail.get("labels", ()), *([detail["label"]] if "label" in detail else ())]:
            labels[f"{model} {label}"] = event["version"]
        if event["kind"] == "policy_set":
            policies[model] = detail["policy_digest"]
        if "record" in detail and not (event["run"] in seen and detail.get("status") == "killed"):
            ended[event["run"]] = detail["record"]
            if detail.get("status") in ("finished", "failed"):  # a clone that found its process gone doesn't know better
                seen.add(event["run"])
        if event["kind"] == "registered":
            registered.setdefault(event["run"], [event["version"], event["at"]])
        for parent, kind in told_parents(event):
            above = edges.setdefault(event["run"], [])
            if all(parent != known for known, _ in above) and event["run"] not in ancestry(edges, parent):
                above.append([parent, kind])
    lineage = {run: above for run, above in edges.items() if above}
    return {
        "stages": stages, "tags": sorted(tags), "labels": labels, "policies": policies, "lineage": lineage, "ended": ended,
        "registered": registered,
    }  # fmt: skip


def told_parents(event: dict[str, Any]) -> Iterator[tuple[str, str]]:
    if event["kind"] == "linked":
        yield event["detail"]["parent"], event["detail"]["lineage"]
    for parent in event["detail"]["parents"] if event["kind"] in PARENTS else ():
        yield parent["run"], parent["kind"]


def ancestry(edges: dict[str, list[list[str]]], run: str) -> set[str]:
    """A run and all above it, by a plain walk."""
    found, waiting = {run}, [run]
    while waiting:
        for parent, _ in edges.get(waiting.pop(), ()):
            if parent not in found:
                found.add(parent)
                waiting.append(parent)
    return found


def state_of(path: Path) -> dict[str, Any]:
    """The same things as a registry's rows have them; what ended a run as its record was hashed."""
    from ifpdb.ledger.runs import record_digest

    with ifp.open(path, readonly=True) as registry:
        versions = registry.sql("SELECT model || ' ' || version AS place, stage FROM versions")
        tags = registry.sql(
            "SELECT m.name || ' ' || v.sha256 || ' ' || t.name AS tag FROM tag t JOIN version v ON v.key = t.version"
            " JOIN model m ON m.key = v.model"
        )
        labels = registry.sql(
            "SELECT m.name || ' ' || l.name AS label, v.sha256 AS version FROM label l JOIN model m ON m.key = l.model"
            " JOIN version v ON v.key = l.version"
        )
        runs = registry.sql("SELECT run AS id, version, registered_at FROM runs")
        policies = {one.model: registry.model(one.model).policy for one in registry.models()}
        edges = dict[str, list[list[str]]]()
        for row in registry.sql("SELECT child, parent, kind FROM lineage ORDER BY child, position"):
            edges.setdefault(row["child"], []).append([row["parent"], row["kind"]])
        with registry.reading() as tx:
            records = {
                id: record_digest(tx, key) for key, id in tx.execute("SELECT key, id FROM run WHERE status <> 'running'")
            }
        return {
            "stages": {row["place"]: row["stage"] for row in versions},
            "tags": sorted(row["tag"] for row in tags),
            "labels": {row["label"]: row["version"] for row in labels},
            "policies": {name: policy.digest for name, policy in policies.items() if policy},
            "lineage": edges,
            "ended": records,
            "registered": {row["id"]: [row["version"], row["registered_at"]] for row in runs if row["version"]},
        }


# -- points and numbers


def points(path: Path) -> dict[tuple[str, str, str], Counter[tuple[int, int, str]]]:
    """Every point of every metric: (run, metric, dataset) -> how often (time, step, value)."""
    query = (
        "SELECT r.id, x.name, coalesce(hex(d.digest), d.pointer, '') AS data, x.series FROM metric x"
        " JOIN run r ON r.key = x.run LEFT JOIN dataset d ON d.key = x.dataset"
    )
    with ifp.open(path, readonly=True) as registry, registry.reading() as tx:
        found = dict[tuple[str, str, str], Counter[tuple[int, int, str]]]()
        for run, name, data, packed in tx.execute(query):
            values, steps, times = series.unpack(packed)
            found[run, name, data] = Counter(zip(times, steps, map(repr, values), strict=True))
        return found


def all_points(paths: Iterable[Path]) -> dict[tuple[str, str, str], Counter[tuple[int, int, str]]]:
    found = dict[tuple[str, str, str], Counter[tuple[int, int, str]]]()
    for path in paths:
        for place, counted in points(path).items():
            found[place] = found.get(place, Counter()) | counted
    return found


def ordinals(path: Path) -> dict[str, int]:
    with ifp.open(path, readonly=True) as registry:
        rows = registry.sql("SELECT model || ' ' || version AS place, ordinal FROM versions")
        return {row["place"]: int(row["ordinal"][1:]) for row in rows}


def earliest_ordinals(paths: Iterable[Path]) -> dict[str, int]:
    """The number of each version in the clone whose log has its earliest registration."""
    found = dict[str, tuple[tuple[str, str], int]]()
    for path in paths:
        held, first = ordinals(path), dict[str, tuple[str, str]]()
        for id, event in log(path).items():
            if event["kind"] == "registered":
                place, moment = f"{event['model']} {event['version']}", (event["at"], id)
                first[place] = min(first.get(place, moment), moment)
        for place, moment in first.items():
            found[place] = min(found.get(place, (moment, held[place])), (moment, held[place]))
    return {place: number for place, (_, number) in found.items()}


# -- disagreement


def disagreements(ours: Events, theirs: Events) -> set[tuple[str, str, str, frozenset[str | None]]]:
    """(kind, model, label, what both want): where both have said something since the common past, and both can't be so."""
    mine = {id: event for id, event in ours.items() if id not in theirs}
    yours = {id: event for id, event in theirs.items() if id not in ours}
    found = set[tuple[str, str, str, frozenset[str | None]]]()
    if not mine or not yours:
        return found
    for kind, wants in (("label", _labels), ("policy", _policies)):
        a, b = wants(mine), wants(yours)
        found |= {(kind, *place, frozenset({a[place], b[place]})) for place in a.keys() & b.keys() if a[place] != b[place]}
    here, there = holders(ours), holders(theirs)
    for model in {event["model"] for event in [*mine.values(), *yours.values()] if "model" in event}:
        pair = here.get(model), there.get(model)
        entered = [_entered(alone, model) for alone in (mine, yours)]
        if pair[0] != pair[1] and all(entered):
            found.add(("production", model, "", frozenset(pair)))
        for has, held, other in ((entered[0], pair[0], yours), (entered[1], pair[1], mine)):
            if has and not all(entered) and held is not None and _last_move(other, model, held) not in (None, "production"):
                found.add(("production", model, "", frozenset(pair)))
    return found


def _entered(events: Events, model: str) -> bool:
    return any(event.get("to_stage") == "production" and event["model"] == model for event in events.values())


def _last_move(events: Events, model: str, version: str) -> str | None:
    moves = [
        event["to_stage"]
        for event in in_order(events)
        if event["kind"] != "registered" and event.get("version") == version and event["model"] == model and "to_stage" in event
    ]
    return str(moves[-1]) if moves else None


def _labels(events: Events) -> dict[tuple[str, str], str]:
    return {
        (event["model"], label): event["version"]
        for event in in_order(events)
        for label in [*event["detail"].get("labels", ()), *([event["detail"]["label"]] if "label" in event["detail"] else ())]
    }


def _policies(events: Events) -> dict[tuple[str, str], str]:
    return {
        (event["model"], ""): event["detail"]["policy_digest"] for event in in_order(events) if event["kind"] == "policy_set"
    }


def agree(logs: Iterable[Events]) -> bool:
    """Whether no two of these logs disagree."""
    known = list(logs)
    return not any(disagreements(a, b) for a, b in product(known, known) if a is not b)
