"""Fits captured from xgboost, lightgbm and catboost: their scikit-learn classes and their own ways to train."""

# ruff: noqa: N803  # X is what scikit-learn calls it

from __future__ import annotations

import subprocess
import sys
import warnings
from collections.abc import Iterator
from typing import Any

import pytest

from ifpdb.capture.fit.estimator import Fit, watching
from ifpdb.digest import canonical

pytestmark = pytest.mark.frameworks

np = pytest.importorskip("numpy")

X = np.random.default_rng(0).normal(size=(80, 3)).astype(np.float32)
Y = (X[:, 0] > 0).astype(np.float32)
QUIET = {"iterations": 3, "verbose": 0, "allow_writing_files": False}


@pytest.fixture(autouse=True)
def library_warnings() -> Iterator[None]:
    """What the libraries warn of among themselves is not ours to fix."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


class Kept:
    """Keeps what it is given, for the test to look at."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    def add(self, X: object, y: object | None, sample_weight: object | None, *, last: bool) -> None:
        self.calls.append((X, y, sample_weight))


def data_of(fit: Fit) -> tuple[Any, Any, Any]:
    assert fit.problem is None
    assert isinstance(fit.described, Kept)
    ((table, label, weight),) = fit.described.calls
    return table, label, weight


def boosters() -> list[Any]:
    return [
        ("xgboost", "XGBClassifier", {"n_estimators": 3}),
        ("xgboost", "XGBRFClassifier", {"n_estimators": 3}),
        ("xgboost", "XGBRegressor", {"n_estimators": 3}),
        ("lightgbm", "LGBMClassifier", {"n_estimators": 3, "verbose": -1}),
        ("lightgbm", "LGBMRegressor", {"n_estimators": 3, "verbose": -1}),
        ("catboost", "CatBoostClassifier", QUIET),
        ("catboost", "CatBoostRegressor", QUIET),
    ]


@pytest.mark.parametrize(("module", "name", "params"), boosters(), ids=[name for _, name, _ in boosters()])
def test_the_estimator_classes_are_one_fit_each(module: str, name: str, params: dict[str, Any]) -> None:
    model = getattr(pytest.importorskip(module), name)(**params)
    with watching(Kept) as watch:
        model.fit(X, Y)
    assert [(fit.model, fit.method) for fit in watch.fits] == [(model, "fit")]
    table, label, _ = data_of(watch.candidate())
    assert table is X
    assert label is Y
    assert watch.fits[0].params.items() >= params.items()
    canonical(watch.fits[0].params)


def test_a_search_over_a_booster_in_processes_is_one_fit() -> None:
    xgboost, selection = pytest.importorskip("xgboost"), pytest.importorskip("sklearn.model_selection")
    search = selection.GridSearchCV(xgboost.XGBClassifier(n_estimators=2), {"max_depth": [1, 2]}, cv=2, n_jobs=2)
    with watching(Kept) as watch:
        search.fit(X, Y)
    (fit,) = watch.fits
    assert fit.model is search
    assert fit.params["estimator__n_estimators"] == 2
    assert watch.find(search.best_estimator_.get_booster()) is fit


def test_xgboost_train_gives_the_booster_its_parameters_and_the_matrix() -> None:
    xgboost = pytest.importorskip("xgboost")
    holey = X.copy()
    holey[3, 1] = np.nan
    matrix = xgboost.DMatrix(holey, label=Y, weight=np.full(80, 0.5), feature_names=["a", "b", "c"])
    with watching(Kept) as watch:
        booster = xgboost.train({"max_depth": 2, "seed": 11}, matrix, num_boost_round=4, verbose_eval=False)
        xgboost.cv({"max_depth": 2}, matrix, num_boost_round=2, nfold=2)
    fit = watch.candidate()
    assert (fit.model, fit.method, fit.seed) == (booster, "train", 11)
    assert fit.params == {"max_depth": 2, "seed": 11, "num_boost_round": 4, "verbose_eval": False}
    table, label, weight = data_of(fit)
    assert np.array_equal(np.asarray(table), holey, equal_nan=True)
    assert np.asarray(table).dtype == np.float32
    if "pandas" in sys.modules:
        assert list(table.columns) == ["a", "b", "c"]
    assert np.array_equal(label, Y)
    assert set(weight) == {0.5}


def test_a_matrix_that_holds_few_values_is_described_as_it_is() -> None:
    xgboost, sparse = pytest.importorskip("xgboost"), pytest.importorskip("scipy.sparse")
    values = sparse.random(80, 50, density=0.02, format="csr", random_state=0, dtype=np.float32)
    with watching(Kept) as watch:
        xgboost.train({}, xgboost.DMatrix(values, label=Y), 1)
    table, _, weight = data_of(watch.candidate())
    assert (table != values).nnz == 0
    assert weight is None


def test_a_label_of_two_columns_keeps_its_shape() -> None:
    xgboost = pytest.importorskip("xgboost")
    labels = np.stack([Y, 1 - Y], axis=1)
    with watching(Kept) as watch:
        xgboost.train({}, xgboost.DMatrix(X, label=labels), 1)
    assert np.array_equal(data_of(watch.candidate())[1], labels)


def test_a_quantile_matrix_says_that_it_has_no_values() -> None:
    xgboost = pytest.importorskip("xgboost")
    with watching(Kept) as watch:
        xgboost.train({}, xgboost.QuantileDMatrix(X, label=Y), 1)
    fit = watch.candidate()
    assert fit.described is None
    assert "holds bins, not the values" in str(fit.problem)


def test_lightgbm_train_gives_the_booster_its_parameters_and_the_data() -> None:
    lightgbm = pytest.importorskip("lightgbm")
    data = lightgbm.Dataset(X, label=Y, feature_name=["a", "b", "c"])
    with watching(Kept) as watch:
        booster = lightgbm.train({"verbose": -1, "random_state": 5}, data, num_boost_round=3)
        again = lightgbm.train({"verbose": -1}, data, 3)
    assert [fit.model for fit in watch.fits] == [booster, again]
    first, second = watch.fits
    assert (first.seed, first.params) == (5, {"verbose": -1, "random_state": 5, "num_boost_round": 3})
    table, label, _ = data_of(first)
    assert np.array_equal(np.asarray(table), X)
    assert np.array_equal(label, Y)
    assert "free_raw_data=False" in str(second.problem)


def test_catboost_train_gives_the_model_and_the_pool() -> None:
    catboost = pytest.importorskip("catboost")
    pool = catboost.Pool(X, Y, feature_names=["a", "b", "c"])
    with watching(Kept) as watch:
        model = catboost.train(pool, {**QUIET, "random_seed": 3})
        catboost.cv(pool, {**QUIET, "loss_function": "Logloss"}, fold_count=2, logging_level="Silent")
    fit = watch.candidate()
    assert (fit.model, fit.seed, fit.params["iterations"]) == (model, 3, 3)
    assert np.array_equal(np.asarray(data_of(fit)[0]), X)


@pytest.mark.parametrize("method", ["grid_search", "randomized_search", "select_features"])
def test_catboosts_searches_are_fits(method: str) -> None:
    catboost = pytest.importorskip("catboost")
    asked: dict[str, tuple[Any, dict[str, Any]]] = {
        "grid_search": (({"depth": [3]}, X, Y), {"verbose": False, "cv": 2}),
        "randomized_search": (({"depth": [3]}, X, Y), {"verbose": False, "n_iter": 1, "cv": 2}),
        "select_features": (
            (X, Y),
            {"features_for_select": [0, 1, 2], "num_features_to_select": 2, "steps": 1, "train_final_model": True},
        ),
    }
    args, kwargs = asked[method]
    model = catboost.CatBoostClassifier(**QUIET)
    with watching(Kept) as watch:
        getattr(model, method)(*args, **kwargs)
    fit = watch.candidate()
    assert (fit.model, fit.method) == (model, method)
    assert data_of(fit)[0] is X
    assert data_of(fit)[1] is Y
    if method == "select_features":
        assert len(fit.params["select_features__selected"]) == 2
    else:
        assert fit.params["depth"] == 3
    assert model.is_fitted()


def test_a_search_of_catboosts_that_trains_nothing_is_no_fit() -> None:
    catboost = pytest.importorskip("catboost")
    with watching(Kept) as watch:
        catboost.CatBoostClassifier(**QUIET).grid_search({"depth": [2]}, X, Y, refit=False, verbose=False, cv=2)
    assert watch.fits == []
    assert watch.failed == []


def test_a_pool_given_to_an_estimator_is_unpacked_or_says_why_not() -> None:
    catboost = pytest.importorskip("catboost")
    words = [[float(i), "ab"[i % 2]] for i in range(20)]
    with watching(Kept) as watch:
        catboost.CatBoost(QUIET).fit(catboost.Pool(X, Y))
        catboost.CatBoostClassifier(**QUIET).fit(catboost.Pool(words, [i % 2 for i in range(20)], cat_features=[1]))
    numbers, mixed = watch.fits
    assert np.array_equal(data_of(numbers)[0], X)
    assert "features that are no numbers" in str(mixed.problem)


LATE = """
import sys, warnings
warnings.simplefilter("ignore")
import numpy as np
from ifpdb.capture.fit.estimator import watching
from ifpdb.capture.fit import patching
class Kept:
    def add(self, X, y, w, *, last): pass
X = np.random.default_rng(0).normal(size=(40, 3)); y = (X[:, 0] > 0).astype(int)
with watching(Kept) as watch:
    import xgboost, lightgbm, catboost
    from xgboost import train
    models = [
        xgboost.XGBClassifier(n_estimators=2).fit(X, y),
        lightgbm.LGBMClassifier(n_estimators=2, verbose=-1).fit(X, y),
        catboost.CatBoostClassifier(iterations=2, verbose=0, allow_writing_files=False).fit(X, y),
        train({}, xgboost.DMatrix(X, label=y), 2),
        lightgbm.train({"verbose": -1}, lightgbm.Dataset(X, label=y), 2),
    ]
assert [fit.model for fit in watch.fits] == models, watch.fits
assert not [fit.problem for fit in watch.fits if fit.problem]
import xgboost.sklearn, xgboost.training
for function in (xgboost.train, xgboost.training.train, xgboost.sklearn.train, lightgbm.train, lightgbm.engine.train,
                 catboost.train, catboost.core.train, xgboost.XGBModel.fit, lightgbm.LGBMModel.fit, catboost.CatBoost.fit):
    assert patching.original_of(function) is function, function
"""


def test_libraries_that_are_imported_inside_are_seen_and_restored() -> None:
    for module in ("xgboost", "lightgbm", "catboost", "sklearn"):
        pytest.importorskip(module)
    subprocess.run([sys.executable, "-c", LATE], check=True, timeout=300)


def test_the_native_functions_are_pickled_by_their_names_inside() -> None:
    xgboost, cloudpickle = pytest.importorskip("xgboost"), pytest.importorskip("cloudpickle")
    plain = cloudpickle.dumps(xgboost.train)
    with watching(Kept):
        assert cloudpickle.dumps(xgboost.train) == plain
