"""A feature schema in other tools' words: Frictionless Table Schema, and the dtypes of numpy and pandas."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .features import Feature

_FIELDS = {
    "number": "number",
    "integer": "integer",
    "boolean": "boolean",
    "string": "string",
    "category": "string",
    "timestamp": "datetime",
    "date": "date",
    "tensor": "array",
}
_DTYPES = {
    "number": "float64",
    "integer": "int64",
    "boolean": "bool",
    "string": "str",
    "category": "category",
    "timestamp": "datetime64[ns]",
    "date": "datetime64[s]",
}
_NULLABLE = {"integer": "Int64", "boolean": "boolean"}


def to_frictionless(features: Iterable[Feature]) -> dict[str, Any]:
    """A Table Schema (specs.frictionlessdata.io/table-schema).

    Its times are RFC 3339 text without fractions; a constraint that it has no words for is left out.
    """
    return {"fields": [_field(feature) for feature in features]}


def _field(feature: Feature) -> dict[str, Any]:
    type = _FIELDS[feature.type]
    if feature.type == "category" and feature.categories and not any(isinstance(v, str) for v in feature.categories):
        type = "integer" if all(isinstance(value, int) for value in feature.categories) else "number"
    field: dict[str, Any] = {"name": feature.name, "type": type}
    constraints: dict[str, Any] = {} if feature.nullable else {"required": True}
    if feature.type in ("number", "integer", "date"):
        constraints |= {"minimum": feature.min} if feature.min is not None else {}
        constraints |= {"maximum": feature.max} if feature.max is not None else {}
    if feature.categories:
        constraints["enum"] = list(feature.categories)
    return field | ({"constraints": constraints} if constraints else {})


def dtypes(features: Iterable[Feature]) -> dict[str, str]:
    """By feature, the numpy or pandas dtype that holds it; a tensor's is that of its elements."""
    return {feature.name: _dtype(feature) for feature in features}


def _dtype(feature: Feature) -> str:
    if feature.type == "tensor":
        return feature.dtype or "object"
    if feature.nullable and feature.type in _NULLABLE:
        return _NULLABLE[feature.type]
    if feature.type == "timestamp" and str(feature.min or feature.max or "").endswith("Z"):
        return "datetime64[ns, UTC]"
    return _DTYPES[feature.type]
