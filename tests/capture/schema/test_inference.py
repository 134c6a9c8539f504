"""A schema inferred from columns."""

from __future__ import annotations

from typing import Any

import pytest

from ifpdb.capture.schema.features import Feature, read_schema
from ifpdb.capture.schema.inference import infer_schema
from ifpdb.records import Column


@pytest.mark.parametrize(
    ("tag", "type", "dtype", "shape"),
    [
        ("f32", "number", None, None),
        ("bf16", "number", None, None),
        ("u8", "integer", None, None),
        ("bool", "boolean", None, None),
        ("utf8", "string", None, None),
        ("ts[utc]", "timestamp", None, None),
        ("ts[naive]", "timestamp", None, None),
        ("date", "date", None, None),
        ("duration", "number", None, None),
        ("decimal[2]", "number", None, None),
        ("null", "string", None, None),
        ("f32[28,28]", "tensor", "float32", (28, 28)),
        ("bf16[8]", "tensor", "bfloat16", (8,)),
        ("bool[3]", "tensor", "bool", (3,)),
        ("sparse[f64,300]", "tensor", "float64", (300,)),
        ("list[i64]", "tensor", "int64", (None,)),
        ("list[utf8]", "tensor", "object", (None,)),
        ("bytes", "tensor", "uint8", (None,)),
        ('struct{"a":i64}', "tensor", "object", ()),
    ],
)
def test_each_type_of_column_has_its_type_of_feature(tag: str, type: str, dtype: Any, shape: Any) -> None:
    schema = infer_schema([Column(0, "a", tag, "", 0)])
    assert schema.features == (Feature(0, "a", type, False, dtype=dtype, shape=shape),)
    assert read_schema(schema.as_dict()) == schema


def test_nulls_ranges_and_categories_are_kept() -> None:
    columns = [
        Column(0, "a", "f64", "", 3, min=0.5, max=2.0),
        Column(1, "b", "utf8", "", 0, values=("x", "y")),
        Column(2, "c", "i64", "", 0, categorical=True, min=1, max=2, values=(1, 2)),
        Column(3, "d", "bool", "", 0, values=(False, True)),
    ]
    assert infer_schema(columns).features == (
        Feature(0, "a", "number", True, 0.5, 2.0),
        Feature(1, "b", "string", False, categories=("x", "y")),
        Feature(2, "c", "category", False, categories=(1, 2)),
        Feature(3, "d", "boolean", False),
    )
