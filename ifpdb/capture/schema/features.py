"""Feature schemas: what a model expects as input. Read from a JSON file or from records, checked, given a digest."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from ...digest import JSON, MAX_SAFE_INTEGER, canonical, sha256
from ...errors import UsageError

if TYPE_CHECKING:
    from pydantic import BaseModel

    from .validation import Validation, Validator

TYPES = ("number", "integer", "boolean", "string", "category", "timestamp", "date", "tensor")


@dataclass(frozen=True, slots=True)
class Feature:
    """One input feature. `min` and `max` are numbers, or times as text; `categories` is the tuple of values seen.

    A tensor has the `dtype` of its elements and the `shape` of one row, such as 'float32' and (28, 28); None is any length.
    """

    position: int
    name: str
    type: str
    nullable: bool = True
    min: float | str | None = None
    max: float | str | None = None
    categories: tuple[str | int | float | bool, ...] | None = None
    dtype: str | None = None
    shape: tuple[int | None, ...] | None = None

    def as_dict(self) -> dict[str, Any]:
        tensor = {} if self.shape is None else {"dtype": self.dtype, "shape": list(self.shape)}
        return tensor | {
            "position": self.position,
            "name": self.name,
            "type": self.type,
            "nullable": self.nullable,
            "min": self.min,
            "max": self.max,
            "categories": None if self.categories is None else list(self.categories),
        }


@dataclass(frozen=True, slots=True)
class FeatureSchema:
    """What a model expects as input, feature by feature in order. `digest` is `sha256:…` of its canonical JSON."""

    features: tuple[Feature, ...]
    digest: str
    _validator: list[Validator] = field(default_factory=list, init=False, repr=False, compare=False)
    """The compiled schema, once it was needed."""

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(feature.name for feature in self.features)

    def validate(self, batch: Any) -> Validation:
        """Whether the batch is what the model was trained on, with each way in which it isn't.

        A batch is a frame, an Arrow table, an array, a sparse matrix, a tensor, a dict of columns, a list of dicts, or one row
        as a dict or a 1-d array. What has no names is taken by position; rows that are dicts have no order. Limits are exact,
        in the precision of the batch. Raises UsageError only for what is no batch, such as a generator or a single value.
        """
        if not self._validator:
            from .validation import Validator

            self._validator.append(Validator(self))
        return self._validator[0].validate(batch)

    def align(self, batch: Any) -> Any:
        """The batch with its columns in the trained order and no others, in the library that it came in.

        Raises UsageError that names the features that are missing, and for a batch without names.
        """
        from .batches import align_batch

        return align_batch(batch, self.names)

    def to_frictionless(self) -> dict[str, Any]:
        """The schema as a Frictionless Table Schema."""
        from .tableschema import to_frictionless

        return to_frictionless(self.features)

    def dtypes(self) -> dict[str, str]:
        """By feature, the numpy or pandas dtype that holds it: 'float64', 'Int64', 'category', …"""
        from .tableschema import dtypes

        return dtypes(self.features)

    def as_dict(self) -> dict[str, Any]:
        return {"digest": self.digest, "features": [feature.as_dict() for feature in self.features]}


def make_schema(features: Iterable[Feature]) -> FeatureSchema:
    """The schema of these features, in their order of position, with its digest."""
    ordered = tuple(sorted(features, key=lambda feature: feature.position))
    return FeatureSchema(ordered, sha256(schema_body(ordered)))


def schema_body(features: Iterable[Feature]) -> bytes:
    """The canonical JSON that a schema's digest is the SHA-256 of."""
    return canonical({"features": [feature.as_dict() for feature in features]})


def read_schema(source: FeatureSchema | Mapping[str, Any] | Iterable[Any] | str | Path) -> FeatureSchema:
    """A FeatureSchema from a JSON file, a mapping `{"features": […]}`, or a list of Features or mappings.

    Raises UsageError that names the file, the feature and what is wrong with it.
    """
    if isinstance(source, FeatureSchema):
        return source
    if isinstance(source, str | Path):
        return _schema_in(_bytes_of(Path(source)), str(source))
    return _read(source, "the schema")


@lru_cache(maxsize=32)
def _schema_in(text: bytes, where: str) -> FeatureSchema:
    """The schema in a file's bytes; the same ones are not checked twice by one process."""
    return _read(_parse(text, where), where)


def _read(source: Mapping[str, Any] | Iterable[Any], where: str) -> FeatureSchema:
    rows = source.get("features") if isinstance(source, Mapping) else source
    if isinstance(source, Mapping) and set(source) - {"features", "digest"}:
        raise UsageError(f"{where}: unknown key {min(map(str, set(source) - {'features', 'digest'}))!r} beside 'features'")
    if not isinstance(rows, list | tuple):
        raise UsageError(f'{where}: write {{"features": [{{"position": 0, "name": "amount", "type": "number"}}, …]}}')
    features = [row if isinstance(row, Feature) else _feature(row, where, i) for i, row in enumerate(rows)]
    _check_whole(features, where)
    return make_schema(features)


def schema_from_body(body: str, digest: str) -> FeatureSchema:
    """The schema that `schema_body` wrote."""
    return FeatureSchema(tuple(_trusted_feature(row) for row in json.loads(body)["features"]), digest)


def _trusted_feature(row: Mapping[str, Any]) -> Feature:
    categories = row["categories"]
    exact = {"min": _exact(row["min"]), "max": _exact(row["max"])}
    shape = None if row.get("shape") is None else tuple(row["shape"])
    return Feature(
        **{**row, **exact, "shape": shape, "categories": None if categories is None else tuple(map(_exact, categories))}
    )


def _exact(value: Any) -> Any:
    """A double that canonical JSON wrote without a point, such as 1e16, as the double that it is."""
    if type(value) is int and MAX_SAFE_INTEGER < abs(value) < 10**21 and canonical(float(value)) == str(value).encode():
        return float(value)
    return value


def _bytes_of(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise UsageError(f"there is no schema file {path}") from None
    except (OSError, ValueError) as error:  # ValueError: a path with a NUL in it
        raise UsageError(f"{str(path)!r} can't be read: {getattr(error, 'strerror', None) or error}") from None


def _parse(text: bytes, where: str) -> JSON:
    try:
        return json.loads(text, parse_constant=_no_constant, object_pairs_hook=_unrepeated)
    except UnicodeDecodeError:
        raise UsageError(f"{where} is not UTF-8 text") from None
    except ValueError as error:
        raise UsageError(f"{where} is not JSON: {error}") from None
    except RecursionError:
        raise UsageError(f"{where} is not a schema: it nests too deep") from None


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON; leave min or max out, or write null")


def _unrepeated(pairs: list[tuple[str, JSON]]) -> dict[str, JSON]:
    """An object whose keys stand there once: JSON readers differ in which one they keep."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{next(name for name in names if names.count(name) > 1)!r} stands twice in one object")
    return found


def _feature(row: object, where: str, index: int) -> Feature:
    from pydantic import ValidationError

    try:
        parsed = _row_type().model_validate(row).model_dump()
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(step) for step in first["loc"][:1])
        why = "is no key of a feature" if first["type"] == "extra_forbidden" else first["msg"]
        raise UsageError(f"{where}: feature {index}: {field}: {why}") from None
    if parsed["position"] is None:
        parsed["position"] = index
    return _trusted_feature(parsed)


@cache
def _row_type() -> type[BaseModel]:
    from pydantic import ConfigDict, Field, FiniteFloat, StrictBool, StrictInt, StrictStr, create_model

    limit: Any = StrictInt | FiniteFloat | StrictStr | None
    fields: dict[str, Any] = {
        "position": (int | None, Field(default=None, ge=0)),
        "name": (str, Field(min_length=1)),
        "type": (str, ...),
        "nullable": (bool, True),
        "min": (limit, None),
        "max": (limit, None),
        "categories": (list[StrictBool | StrictInt | FiniteFloat | StrictStr] | None, None),
        "dtype": (str | None, None),
        "shape": (list[Annotated[StrictInt, Field(ge=0)] | None] | None, None),
    }
    return create_model("Row", __config__=ConfigDict(extra="forbid", strict=True), **fields)


def _check_whole(features: list[Feature], where: str) -> None:
    if not features:
        raise UsageError(f"{where}: it has no features")
    names = set[str]()
    for expected, feature in enumerate(sorted(features, key=lambda f: f.position)):
        named = f"{where}: feature {feature.name!r}"
        if feature.position != expected:
            raise UsageError(f"{named}: positions must run 0, 1, 2 …, each once; {expected} is missing or taken twice")
        if feature.name in names:
            raise UsageError(f"{named}: the name stands twice")
        if feature.type not in TYPES:
            raise UsageError(f"{named}: type {feature.type!r} is not one of {', '.join(TYPES)}")
        if feature.type in ("number", "integer") and (isinstance(feature.min, str) or isinstance(feature.max, str)):
            raise UsageError(f"{named}: min and max of a number are numbers")
        if feature.min is not None and feature.max is not None and not _in_order(feature.min, feature.max):
            raise UsageError(f"{named}: min {feature.min!r} is not below max {feature.max!r}")
        if (feature.dtype is None) != (feature.shape is None) or (feature.shape is not None and feature.type != "tensor"):
            raise UsageError(f"{named}: dtype and shape stand together, in a tensor")
        names.add(feature.name)


def _in_order(low: float | str, high: float | str) -> bool:
    if isinstance(low, str) or isinstance(high, str):
        return isinstance(low, str) and isinstance(high, str) and low <= high
    return low <= high
