"""What differs between two versions or runs, part by part, as a list of Changes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import Any

from ..answers import Change
from ..capture.schema.features import Feature, FeatureSchema
from ..digest import integer_to_json, number_to_json
from ..records import Code, Dataset, Run, Version

Look = Callable[[str, Dataset, Dataset], Iterable[Change]]
"""Told a dataset's name and what it was and is: what became of the table."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What is known of a version or run where it is compared. `schema` and `weights` (a digest) are None where it has none."""

    record: Version | Run
    data: tuple[Dataset, ...]
    schema: FeatureSchema | None
    params: Mapping[str, Any]
    weights: str | None
    metrics: Mapping[str, Any]
    code: Code
    environment: Mapping[str, Any]


def seen(record: Version | Run, earlier: Seen | None = None) -> Seen:
    """A version or run as it is compared.

    `earlier` is what came before it on a path. A run that registered nothing is judged by what it recorded: what it didn't
    is taken to be as it was; and so is a metric that was not measured.
    """
    metrics, code, surroundings = _metrics(record), record.code, record.environment
    if earlier is not None:
        metrics = {**earlier.metrics, **metrics}
        code, surroundings = earlier.code if code == Code() else code, surroundings or earlier.environment
    if isinstance(record, Version):
        weights = record.weights.digest if record.weights else None
        return Seen(record, record.data, record.schema, record.params, weights, metrics, code, surroundings)
    kept = record.artifacts.get("model")
    data, schema, params, weights = record.data, None, record.params, kept.digest if kept else None
    if earlier is not None:
        data, schema, params = data or earlier.data, earlier.schema, params or earlier.params
        weights = weights or earlier.weights
    return Seen(record, data, schema, params, weights, metrics, code, surroundings)


def compare(
    a: Version | Run | Seen, b: Version | Run | Seen, *, look: Look | None = None, everything: bool = False
) -> list[Change]:
    """Every difference from `a` to `b`: data, features, parameters, seed, code, environment, weights, metrics.

    `look` tells more of data that changed. With `everything`, what is the same is listed too, as 'unchanged'.
    """
    before = a if isinstance(a, Seen) else seen(a)
    after = b if isinstance(b, Seen) else seen(b)
    if isinstance(before.record, Run):  # what it never recorded can't be said to have changed
        before = replace(before, schema=before.schema or after.schema, weights=before.weights or after.weights)
    if isinstance(after.record, Run):
        after = replace(after, schema=after.schema or before.schema, weights=after.weights or before.weights)
    changes = [
        *_data(before.data, after.data, look),
        *_features(before.schema, after.schema),
        *_mappings("param", before.params, after.params),
        *_mappings("seed", _known(seed=integer_to_json(before.record.seed)), _known(seed=integer_to_json(after.record.seed))),
        *_code(before.code, after.code),
        *_environment(before.environment, after.environment),
        *_mappings("weights", _known(weights=before.weights), _known(weights=after.weights)),
        *_mappings("metric", before.metrics, after.metrics),
    ]
    return changes if everything else [change for change in changes if change.change != "unchanged"]


def _data(before: tuple[Dataset, ...], after: tuple[Dataset, ...], look: Look | None) -> Iterator[Change]:
    """A dataset is followed by role and name, or by its role alone where just one of that role has another name now."""
    old_by_key, new_by_key = _by_role_and_name(before), _by_role_and_name(after)
    for role in {role for role, _ in old_by_key} & {role for role, _ in new_by_key}:
        alone = [[key for key in mine if key[0] == role and key not in other]
                 for mine, other in ((old_by_key, new_by_key), (new_by_key, old_by_key))]  # fmt: skip
        if len(alone[0]) == len(alone[1]) == 1:
            old_by_key[alone[1][0]] = old_by_key.pop(alone[0][0])
    for key in sorted(old_by_key.keys() | new_by_key.keys()):
        old, new = old_by_key.get(key, {}), new_by_key.get(key, {})
        name = ":".join(key)
        for identity in old.keys() & new.keys():
            yield Change("data", name, "unchanged", identity, identity)
        gone, come = [old[x] for x in old if x not in new], [new[x] for x in new if x not in old]
        for left, right in zip_longest(gone, come):
            if left is None or right is None:
                yield Change("data", name, _kind(left, right), left and left.identity, right and right.identity)
            elif look is None:
                yield Change("data", name, "changed", left.identity, right.identity)
            else:
                yield from look(name, left, right)


def _by_role_and_name(data: tuple[Dataset, ...]) -> dict[tuple[str, str], dict[str, Dataset]]:
    found: dict[tuple[str, str], dict[str, Dataset]] = {}
    for dataset in data:
        found.setdefault((dataset.role, dataset.name or ""), {})[dataset.identity] = dataset
    return found


def _features(a: FeatureSchema | None, b: FeatureSchema | None) -> Iterator[Change]:
    before = {f.name: f for f in a.features} if a else {}
    after = {f.name: f for f in b.features} if b else {}
    places = {name: place for place, name in enumerate(name for name in before if name in after)}
    order = {name: place for place, name in enumerate(name for name in after if name in before)}
    for name in [*before, *(name for name in after if name not in before)]:
        old, new = before.get(name), after.get(name)
        if old is None or new is None:
            left, right = (None if f is None else f.as_dict() for f in (old, new))
            yield Change("feature", name, _kind(left, right), left, right)
            continue
        if places[name] != order[name]:
            yield Change("feature", name, "moved", old.position, new.position)
        left, right = _described(old), _described(new)
        if left != right:
            differing = [key for key in left if left[key] != right[key]]
            yield Change("feature", name, "changed", {k: left[k] for k in differing}, {k: right[k] for k in differing})
        elif places[name] == order[name]:
            yield Change("feature", name, "unchanged", left, right)


def _described(feature: Feature) -> dict[str, Any]:
    described = feature.as_dict()
    del described["position"], described["name"]
    return described


def _code(a: Code, b: Code) -> Iterator[Change]:
    yield from _mappings("code", *(_known(commit=code.commit, dirty=code.dirty, diff=code.diff) for code in (a, b)))
    yield from _mappings("code", dict(a.files), dict(b.files))


def _environment(a: Mapping[str, Any], b: Mapping[str, Any]) -> Iterator[Change]:
    """With its packages on one level: their names have no room for 'python' and its like. One not on record is one change."""
    if bool(a) == bool(b):
        flat = [
            {key: value for key, value in found.items() if key != "packages"}
            | {f"package {name}": number for name, number in found.get("packages", {}).items()}
            for found in (a, b)
        ]
        yield from _mappings("environment", *flat)
    else:
        yield Change("environment", "record", "added" if b else "removed", None, None, "the other has none")


def _metrics(record: Version | Run) -> dict[str, Any]:
    names = {dataset.identity: dataset.name for dataset in record.data}
    known = Counter(names.values())
    return {
        _measured_on(m.metric, m.dataset, names.get(m.dataset or ""), known): number_to_json(m.value)
        for m in record.measurements
    }


def _measured_on(metric: str, dataset: str | None, name: str | None, known: Counter[str | None]) -> str:
    """The metric and its dataset: by name where no other has it, else by a digest's beginning or the whole pointer."""
    if dataset is None:
        return metric
    if name and known[name] == 1:
        return f"{metric} on {name}"
    return f"{metric} on {dataset[:19] if dataset.startswith('sha256:') else dataset}"


def _mappings(part: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Change]:
    for name in sorted(before.keys() | after.keys()):
        left, right = before.get(name), after.get(name)
        if name not in before or name not in after:
            change = "added" if name not in before else "removed"
        else:
            change = "changed" if left != right or type(left) is not type(right) else "unchanged"
        yield Change(part, name, change, left, right)


def _known(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _kind(before: object, after: object) -> str:
    return "added" if before is None else "removed" if after is None else "changed"
