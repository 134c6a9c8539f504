"""Boosters trained in their libraries' own way: the native `train` of xgboost, lightgbm and catboost, and CatBoost's searches.

Their containers give the data back as far as they still hold it: a DMatrix and a Pool as float32 tables, which is what they
train on; a lightgbm Dataset as what it was made of, until its first training frees that.
"""

from __future__ import annotations

import sys
from typing import Any

from ...digest import JSON
from ...errors import UsageError
from .hyperparameters import arguments, hyperparameters, parameters
from .patching import Call, Target, Training

SPARSE = 10
"""A DMatrix with fewer values than one in so many cells is described as the sparse matrix that it is."""


def from_dmatrix(data: Any) -> tuple[Any, Any, Any]:
    """(X, y, weight) of an xgboost DMatrix, float32; what is missing is NaN. Raises UsageError when it holds bins only."""
    if any("Quantile" in cls.__name__ for cls in type(data).__mro__):
        raise UsageError("a QuantileDMatrix holds bins, not the values; name the data: run.register(data=…)")
    import numpy as np

    sparse = data.get_data()
    table: Any = sparse
    if sparse.nnz * SPARSE >= sparse.shape[0] * sparse.shape[1]:
        table = np.full(sparse.shape, np.nan, dtype=np.float32)
        entries = sparse.tocoo()
        table[entries.row, entries.col] = entries.data
        table = _named(table, data.feature_names)
    label, weight = data.get_label(), data.get_weight()
    many = data.num_row() and label.size > data.num_row()
    return table, (label.reshape(data.num_row(), -1) if many else _present(label)), _present(weight)


def from_dataset(data: Any) -> tuple[Any, Any, Any]:
    """(X, y, weight) that a lightgbm Dataset was made of. Raises UsageError when it has let go of them."""
    if data.data is None:
        raise UsageError(
            "the lightgbm Dataset has freed its raw data; make it with free_raw_data=False, or name the data: "
            "run.register(data=…)"
        )
    names = data.feature_name if isinstance(data.feature_name, list) else None
    table = _named(data.data, names) if type(data.data).__module__ == "numpy" else data.data
    return table, data.label, data.weight


def from_pool(data: Any) -> tuple[Any, Any, Any]:
    """(X, y, weight) of a catboost Pool, float32. Raises UsageError when not all of its features are numbers."""
    if data.is_quantized() or data.get_cat_feature_indices() or data.get_text_feature_indices():
        raise UsageError(
            "a catboost Pool with features that are no numbers, or quantized, doesn't give its data back; fit on the table "
            "(model.fit(X, y, cat_features=…)), or name the data: run.register(data=…)"
        )
    names = data.get_feature_names()
    given = None if names == [str(position) for position in range(len(names))] else names
    weight = data.get_weight()
    plain = all(value == 1 for value in weight)
    label = data.get_label() if data.has_label() else None
    return _named(data.get_features(), given), label, None if plain else weight


def _xgboost(call: Call) -> Training:
    return _native(call, "dtrain", from_dmatrix)


def _lightgbm(call: Call) -> Training:
    return _native(call, "train_set", from_dataset)


def _catboost(call: Call) -> Training:
    return _native(call, "pool" if call.given.get("pool") is not None else "dtrain", from_pool)


def _native(call: Call, name: str, unpack: Any) -> Training:
    """A call of `train(params, data, …)`: the parameters are its own, and what else it is told in numbers and words."""
    given = dict(call.given)
    data = given.pop(name)
    own = parameters(dict(given.pop("params", None) or {}))
    return _with_data(Training(None, params=own | arguments(given, prefix="")), data, unpack)


def _with_data(training: Training, data: Any, unpack: Any) -> Training:
    try:
        training.X, training.y, training.sample_weight = unpack(data)
    except UsageError as error:
        training.problem = str(error)
    return training


def _estimator(call: Call) -> Training:
    """A method of CatBoost's estimators, whose data may be a Pool."""
    given = dict(call.given)
    data = next((given.pop(name) for name in ("X", "pool") if name in given), None)
    y, weight = given.pop("y", None), given.pop("sample_weight", None)
    params = hyperparameters(call.self)
    training = Training(data, y, weight, params | arguments(given))
    return _with_data(training, data, from_pool) if type(data).__qualname__ == "Pool" else training


def _tuned(call: Call, _result: object) -> Any:
    """CatBoost's searches end with a training unless they are told not to."""
    return call.self if call.given.get("refit", True) and call.given.get("train_final_model", True) else None


def _result(_call: Call, result: Any) -> Any:
    return result


def _chosen(_call: Call, result: Any) -> dict[str, JSON]:
    """What a search of CatBoost's has chosen: values of parameters, or features."""
    chosen = parameters(dict(result.get("params", {})))
    names = result.get("selected_features_names") or result.get("selected_features")
    return chosen | (parameters({"select_features__selected": list(names)}) if names else {})


SEARCHES = ("grid_search", "randomized_search", "select_features")

TARGETS: tuple[Target, ...] = (
    Target("catboost.core", "_CatBoostBase", SEARCHES, _estimator, _tuned, _chosen),
    Target("catboost.core", "_CatBoostBase", ("fit",), _estimator),
    Target("catboost.core", None, ("train",), _catboost, _result, aliases=("catboost",)),
    Target("xgboost.training", None, ("train",), _xgboost, _result, aliases=("xgboost",)),
    Target("lightgbm.engine", None, ("train",), _lightgbm, _result, aliases=("lightgbm",)),
)


def _named(table: Any, names: list[str] | None) -> Any:
    """A numpy table with the names of its columns, in whichever frame the user has loaded; bare where there is none."""
    if names is None:
        return table
    if (pandas := sys.modules.get("pandas")) is not None:
        return pandas.DataFrame(table, columns=names)
    if (polars := sys.modules.get("polars")) is not None:
        return polars.DataFrame(table, schema=list(names))
    return table


def _present(values: Any) -> Any:
    return values if values.size else None
