"""Hyperparameters as JSON: every value a constructor may hold, the same in every process."""

from __future__ import annotations

import functools
import random
import subprocess
import sys
from collections import OrderedDict
from enum import Enum
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ifpdb.capture.fit.hyperparameters import LARGE, arguments, class_path, hyperparameters, parameters, seed_of, to_json
from ifpdb.digest import canonical
from ifpdb.registration import check_params


class Plain:
    """Nobody's value."""


class Colour(Enum):
    RED = "red"


class Estimator:
    """What others than scikit-learn make: get_params without `deep`."""

    def __init__(self, **params: Any) -> None:
        self.params = params

    def get_params(self) -> dict[str, Any]:
        return self.params


class Lying:
    """Has an array's interface and raises when it is used."""

    dtype = "float64"

    @property
    def shape(self) -> Any:
        raise RuntimeError("no shape today")


HERE = __name__


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        (True, True),
        (3, 3),
        (0.5, 0.5),
        ("l2", "l2"),
        ("größe", "größe"),
        ("\ud800", "\\ud800"),
        (float("nan"), "NaN"),
        (float("inf"), "Infinity"),
        (float("-inf"), "-Infinity"),
        (2**53 - 1, 2**53 - 1),
        (2**53, str(2**53)),
        (-(2**70), str(-(2**70))),
        ((1, "a"), [1, "a"]),
        (range(3), [0, 1, 2]),
        ({3, 1, 2}, [1, 2, 3]),
        ({1: "a", "b": None}, {"1": "a", "b": None}),
        (OrderedDict(b=1), {"b": 1}),
        (Path("data") / "x.csv", "data/x.csv"),
        (Colour.RED, "red"),
        (len, "len"),
        (dict.fromkeys, "dict.fromkeys"),
        (Plain, f"{HERE}.Plain"),
        (Plain(), f"{HERE}.Plain"),
        (Lying(), f"{HERE}.Lying"),
        (random.Random.seed, "random.Random.seed"),
        (random, "random"),
        (functools.partial(max, 1, key=abs), {"partial": "max", "args": [1], "kwargs": {"key": "abs"}}),
        (Estimator(a=1), f"{HERE}.Estimator"),
        (object(), "object"),
    ],
)
def test_a_value_has_one_form_in_json(value: object, expected: object) -> None:
    found = to_json(value)
    assert found == expected
    assert type(found) is type(expected)
    canonical(found)


def test_a_lambda_is_named_without_its_address() -> None:
    assert to_json(lambda x: x) == f"{HERE}.test_a_lambda_is_named_without_its_address.<locals>.<lambda>"


def test_generators_are_the_digest_of_their_state() -> None:
    np = pytest.importorskip("numpy")
    makers = (random.Random, np.random.RandomState, np.random.default_rng)
    for maker in makers:
        one, same, other = to_json(maker(1)), to_json(maker(1)), to_json(maker(2))
        assert str(one).startswith("sha256:")
        assert one == same != other
    assert len({to_json(maker(1)) for maker in makers}) == len(makers)


def test_numpy_values_are_pythons() -> None:
    np = pytest.importorskip("numpy")
    values = {
        "int": np.int64(3),
        "bool": np.bool_(True),
        "float": np.float32(0.5),
        "double": np.float64("nan"),
        "text": np.str_("a"),
        "zero-dimensional": np.array(7),
        "small": np.array([[1, 2], [3, 4]]),
        "objects": np.array(["a", None, 1.5], dtype=object),
        "time": np.datetime64("2025-01-01"),
        "type": np.float64,
        "dtype": np.dtype("float32"),
    }
    found = parameters(values)
    canonical(found)
    assert found == {
        "int": 3,
        "bool": True,
        "float": 0.5,
        "double": "NaN",
        "text": "a",
        "zero-dimensional": 7,
        "small": [[1, 2], [3, 4]],
        "objects": ["a", None, 1.5],
        "time": "2025-01-01",
        "type": "numpy.float64",
        "dtype": "float32",
    }


def test_a_large_array_is_the_digest_of_its_type_shape_and_content() -> None:
    np = pytest.importorskip("numpy")
    values = np.arange(LARGE + 8)
    digests = [to_json(array) for array in (values, values.reshape(-1, 2), values.astype("int32"), values + 1)]
    assert all(str(digest).startswith("sha256:") for digest in digests)
    assert len(set(map(str, digests))) == 4
    assert to_json(np.asfortranarray(values.reshape(-1, 2))) == digests[1]
    assert str(to_json(values.tolist())).startswith("sha256:")


def test_distributions_are_named_with_their_arguments() -> None:
    stats = pytest.importorskip("scipy.stats")
    assert to_json(stats.uniform(0, 4)) == "uniform(0, 4)"
    assert to_json(stats.loguniform(1e-3, b=1.0)) == "loguniform(0.001, b=1)"
    assert to_json(stats.randint(1, 10)) == "randint(1, 10)"


def test_nested_estimators_are_flat_under_scikit_learns_names() -> None:
    pytest.importorskip("sklearn")
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import RandomizedSearchCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    stats = pytest.importorskip("scipy.stats")
    search = RandomizedSearchCV(
        make_pipeline(StandardScaler(), LogisticRegression(C=0.5, random_state=4)),
        {"logisticregression__C": stats.uniform(0, 4)},
        random_state=1,
    )
    found = hyperparameters(search)
    assert set(found) == set(search.get_params(deep=True))
    assert found["estimator__logisticregression__C"] == 0.5
    assert found["param_distributions"] == {"logisticregression__C": "uniform(0, 4)"}
    assert found["estimator__logisticregression"] == "sklearn.linear_model._logistic.LogisticRegression"
    assert seed_of(found) == 1
    check_params(found)


@pytest.mark.parametrize("name", ["LogisticRegression", "GaussianProcessRegressor", "KMeans", "StackingClassifier"])
def test_no_parameter_is_lost_by_reading_names_once_a_class(name: str) -> None:
    pytest.importorskip("sklearn")
    from sklearn.cluster import KMeans
    from sklearn.ensemble import StackingClassifier
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import RBF
    from sklearn.linear_model import LogisticRegression

    models: dict[str, Any] = {
        "LogisticRegression": LogisticRegression(),
        "GaussianProcessRegressor": GaussianProcessRegressor(RBF(2.0) + RBF(1.0)),
        "KMeans": KMeans(),
        "StackingClassifier": StackingClassifier([("a", LogisticRegression()), ("b", KMeans())]),
    }
    model = models[name]
    assert hyperparameters(model) == parameters(model.get_params(deep=True))
    assert len(hyperparameters(model)) > 8


def test_other_libraries_get_params_is_used_as_it_is() -> None:
    assert hyperparameters(Estimator(a=1, b=Estimator())) == {"a": 1, "b": f"{HERE}.Estimator"}
    assert hyperparameters(object()) == {}
    assert hyperparameters(Estimator) == {}


@pytest.mark.parametrize(
    ("params", "seed"),
    [
        ({"random_state": 3, "a__random_state": 4}, 3),
        ({"random_state": None, "a__random_state": 4}, 4),
        ({"a__random_state": 4, "b__random_state": 4}, 4),
        ({"a__random_state": 4, "b__random_state": 5}, None),
        ({"random_seed": 9}, 9),
        ({"seed": 0}, 0),
        ({"random_state": "sha256:…"}, None),
        ({"random_state": True}, None),
        ({"my_random_state": 3}, None),
        ({}, None),
    ],
)
def test_the_seed_is_the_outermost_integer(params: dict[str, Any], seed: int | None) -> None:
    assert seed_of(params) == seed


def test_arguments_are_kept_where_they_are_numbers_switches_or_words() -> None:
    given = {"epochs": 5, "lr": 0.1, "shuffle": True, "mode": "fast", "callbacks": [], "eval_set": [(1, 2)], "none": None}
    assert arguments(given) == {"fit__epochs": 5, "fit__lr": 0.1, "fit__shuffle": True, "fit__mode": "fast"}


def test_names_that_the_registry_would_refuse_are_made_fit() -> None:
    found = parameters({"line\nbreak": 1, "x" * 400: 2, "y" * 399 + "z": 3, "": 4, "a b": 5, 7: 6})  # type: ignore[dict-item]
    assert len(found) == 6
    check_params(found)


def test_what_contains_itself_is_named_by_its_class() -> None:
    endless: list[Any] = []
    endless.append(endless)
    canonical(to_json(endless))
    assert "list" in str(to_json(endless))


nested = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()) | st.binary() | st.builds(Plain),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters()) | st.integers(), inner) | st.tuples(inner, inner),
)


@given(nested)
def test_whatever_is_given_the_registry_takes(value: object) -> None:
    found = to_json(value)
    assert canonical(found) == canonical(to_json(value))
    check_params({"p": found})


def test_values_are_the_same_in_another_process() -> None:
    script = (
        "from ifpdb.capture.fit.hyperparameters import to_json\n"
        "from ifpdb.digest import canonical\n"
        "import random\n"
        "print(canonical(to_json([{'b', 'a', 'c'}, object(), random.Random(3), lambda: 0, {2: frozenset('xyz')}])).decode())"
    )
    runs = [
        subprocess.run(
            [sys.executable, "-c", script], env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
        ).stdout
        for seed in ("1", "2")
    ]
    assert runs[0] == runs[1]
    assert " at 0x" not in runs[0]


def test_a_class_is_named_by_its_path() -> None:
    assert class_path(Plain) == f"{HERE}.Plain"
    assert class_path(int) == "int"
