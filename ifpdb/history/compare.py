"""What differs between two versions, part by part, as a list of Changes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from ..capture.schema.features import Feature
from ..digest import integer_to_json, number_to_json
from ..records import Change, Dataset, Measurement, Version


def compare(a: Version, b: Version) -> list[Change]:
    """Every difference from `a` to `b`: data, features, parameters, seed, code, environment, weights, metrics."""
    changes = [*_data(a, b), *_features(a, b)]
    changes += _mappings("param", a.params, b.params)
    if a.seed != b.seed:
        changes.append(Change("seed", "seed", _kind(a.seed, b.seed), integer_to_json(a.seed), integer_to_json(b.seed)))
    changes += _code(a, b)
    changes += _mappings("environment", _surroundings(a), _surroundings(b))
    before, after = (v.weights.digest if v.weights else None for v in (a, b))
    if before != after:
        changes.append(Change("weights", "weights", _kind(before, after), before, after))
    changes += _mappings("metric", _metrics(a), _metrics(b))
    return changes


def _data(a: Version, b: Version) -> Iterator[Change]:
    """A dataset is followed by role and name; one that has no namesake is added or removed."""
    before, after = _by_role_and_name(a.data), _by_role_and_name(b.data)
    for key in sorted(before.keys() | after.keys()):
        old, new = before.get(key, []), after.get(key, [])
        gone, come = [x for x in old if x not in new], [x for x in new if x not in old]
        for position in range(max(len(gone), len(come))):
            left = gone[position] if position < len(gone) else None
            right = come[position] if position < len(come) else None
            yield Change("data", ":".join(key), _kind(left, right), left, right)


def _by_role_and_name(data: tuple[Dataset, ...]) -> dict[tuple[str, str], list[str]]:
    found: dict[tuple[str, str], list[str]] = {}
    for dataset in data:
        found.setdefault((dataset.role, dataset.name or ""), []).append(dataset.identity)
    return found


def _features(a: Version, b: Version) -> Iterator[Change]:
    before = {f.name: f for f in a.schema.features} if a.schema else {}
    after = {f.name: f for f in b.schema.features} if b.schema else {}
    common = [name for name in before if name in after]
    order = {name: place for place, name in enumerate(name for name in after if name in before)}
    for name in [*before, *(name for name in after if name not in before)]:
        old, new = before.get(name), after.get(name)
        if old is None or new is None:
            left, right = (None if f is None else f.as_dict() for f in (old, new))
            yield Change("feature", name, _kind(left, right), left, right)
            continue
        if common.index(name) != order[name]:
            yield Change("feature", name, "moved", old.position, new.position)
        left, right = _described(old), _described(new)
        if left != right:
            differing = [key for key in left if left[key] != right[key]]
            yield Change("feature", name, "changed", {k: left[k] for k in differing}, {k: right[k] for k in differing})


def _described(feature: Feature) -> dict[str, Any]:
    described = feature.as_dict()
    del described["position"], described["name"]
    return described


def _code(a: Version, b: Version) -> Iterator[Change]:
    for name in ("commit", "dirty", "diff"):
        before, after = getattr(a.code, name), getattr(b.code, name)
        if before != after:
            yield Change("code", name, _kind(before, after), before, after)
    yield from _mappings("code", dict(a.code.files), dict(b.code.files))


def _surroundings(version: Version) -> dict[str, Any]:
    """The environment with its packages on one level: package names have no room for 'python' and its like."""
    flat = {f"{key}": value for key, value in version.environment.items() if key != "packages"}
    return flat | {f"package {name}": number for name, number in version.environment.get("packages", {}).items()}


def _metrics(version: Version) -> dict[str, Any]:
    names = {dataset.identity: dataset.name for dataset in version.data}
    known = Counter(names.values())
    return {_measured_on(m, names.get(m.dataset or ""), known): number_to_json(m.value) for m in version.measurements}


def _measured_on(found: Measurement, name: str | None, known: Counter[str | None]) -> str:
    """The metric and its dataset: by name where no other has it, else by a digest's beginning or the whole pointer."""
    if found.dataset is None:
        return found.metric
    if name and known[name] == 1:
        return f"{found.metric} on {name}"
    return f"{found.metric} on {found.dataset[:19] if found.dataset.startswith('sha256:') else found.dataset}"


def _mappings(part: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Change]:
    for name in sorted(before.keys() | after.keys()):
        left, right = before.get(name), after.get(name)
        if name not in before or name not in after or left != right or type(left) is not type(right):
            change = "added" if name not in before else "removed" if name not in after else "changed"
            yield Change(part, name, change, left, right)


def _kind(before: object, after: object) -> str:
    return "added" if before is None else "removed" if after is None else "changed"
