"""What a track captures by itself: the fit, its data, its schema and its parameters become the parts of a version."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.cluster import KMeans
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.metrics import f1_score
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.tree import DecisionTreeClassifier

import ifpdb as ifp

X, y = load_breast_cancer(return_X_y=True)
X = StandardScaler().fit_transform(X)
X_train, X_val, y_train, y_val = X[:400], X[400:], y[:400], y[400:]


def model_of(**given: Any) -> Any:
    return make_pipeline(StandardScaler(), LogisticRegression(**given))


def test_ordinary_training_code_records_all_four_parts(folder: Path) -> None:
    model = model_of(C=0.5, random_state=7)
    with ifp.track("fraud-detector") as run:
        model.fit(X_train, y_train)
        f1 = f1_score(y_val, model.predict(X_val))
        run.log_metric("f1", f1)
        run.register(stage="staging", tags=["q1-retrain"])

    version = ifp.open().resolve("fraud-detector@latest")
    assert (version.partial, version.missing, version.stage, version.tags) == (False, (), "staging", ("q1-retrain",))
    assert [(d.role, d.name, d.digest, d.rows, d.kind) for d in version.data] == [
        ("train", "X", ifp.hash_data(X_train), 400, "table"),
        ("target", "y", ifp.hash_data(y_train), 400, "table"),
    ]
    assert version.schema is not None
    assert version.schema.names == tuple(f"x{i}" for i in range(30))
    first = version.schema.features[0]
    assert (first.type, first.nullable, first.min, first.max) == ("number", False, X_train[:, 0].min(), X_train[:, 0].max())
    assert version.params["logisticregression__C"] == 0.5
    assert version.params["standardscaler__with_mean"] is True
    assert (version.seed, version.metrics) == (7, {"f1": f1})
    assert version.fit is not None
    assert (version.fit["estimator"], version.fit["method"]) == ("sklearn.pipeline.Pipeline", "fit")
    assert version.fit["seconds"] > 0
    assert "scikit-learn" in version.environment["packages"]
    again = ifp.get_run(run.id).load_artifact()
    assert (again.predict(X_val) == model.predict(X_val)).all()


def train(seed: int = 7, data: Any = X_train, target: Any = y_train, **given: Any) -> ifp.Version:
    with ifp.track("fraud") as run:
        DecisionTreeClassifier(max_depth=2, random_state=seed).fit(data, target)
        return run.register(**given)


def test_the_same_training_gives_the_same_version(registry: ifp.Registry) -> None:
    first, again = train(), train()
    assert (again.digest, again.created, len(again.runs)) == (first.digest, False, 2)
    flipped = X_train.copy()
    flipped[399, 29] += 1e-12
    assert len({first.digest, train(seed=8).digest, train(data=flipped).digest, train(target=1 - y_train).digest}) == 4


def test_what_is_told_goes_before_what_is_captured(registry: ifp.Registry) -> None:
    schema = [{"name": "anything", "type": "number"}]
    with ifp.track("fraud", params={"max_depth": "told"}, seed=1, data="s3://bucket/t#v1") as run:
        DecisionTreeClassifier(max_depth=2, random_state=7).fit(X_train, y_train)
        version = run.register(schema=schema)
    assert (version.params["max_depth"], version.params["criterion"], version.seed) == ("told", "gini", 1)
    assert version.schema is not None and version.schema.names == ("anything",)
    assert [(d.role, d.name) for d in version.data] == [("train", "X"), ("train", "t"), ("target", "y")]


def test_two_models_are_named_and_none_is_guessed(registry: ifp.Registry) -> None:
    with ifp.track("fraud") as run:
        small, large = (DecisionTreeClassifier(max_depth=depth).fit(X_train, y_train) for depth in (2, 5))
        with pytest.raises(ifp.Ambiguous, match=r"DecisionTreeClassifier\(.*DecisionTreeClassifier\(.*model="):
            run.register()
        assert registry.models()[0].versions == 0
        version = run.register(large)
    assert version.params["max_depth"] == 5
    assert version.load_artifact().get_depth() == 5
    assert small.get_depth() == 2


def test_a_preparation_is_not_the_model(registry: ifp.Registry) -> None:
    with ifp.track("fraud") as run:
        scaled = StandardScaler().fit_transform(X_train)
        LogisticRegression().fit(scaled, y_train)
        version = run.register()
    assert version.data[0].digest == ifp.hash_data(scaled)
    assert isinstance(version.load_artifact(), LogisticRegression)


@pytest.mark.parametrize("partial", [False, True])
def test_without_a_fit_there_is_a_reason(registry: ifp.Registry, partial: bool) -> None:
    with ifp.track("fraud") as run:
        with pytest.raises(ValueError, match="C"):
            LogisticRegression(C=-1).fit(X_train, y_train)
        if partial:
            assert run.register(partial=True).missing == ("weights", "data", "schema")
        else:
            with pytest.raises(ifp.UsageError, match=r"LogisticRegression\.fit failed.*model="):
                run.register()


def test_a_model_from_elsewhere_brings_nothing_of_a_fit(registry: ifp.Registry) -> None:
    other = LogisticRegression().fit(X_train, y_train)
    with ifp.track("fraud") as run:
        DecisionTreeClassifier().fit(X_train, y_train)
        with pytest.raises(ifp.Refused, match="data and schema parts"):
            run.register(other)


def test_the_file_of_a_fitted_model_brings_what_the_fit_was_given(registry: ifp.Registry) -> None:
    with ifp.track("fraud") as run:
        Path("model.pkl").write_bytes(pickle.dumps(LogisticRegression(C=3).fit(X_train, y_train)))
        version = run.register("model.pkl")
    assert (version.params["C"], version.data[0].digest) == (3, ifp.hash_data(X_train))


def test_a_logged_model_brings_its_own_fit(registry: ifp.Registry) -> None:
    with ifp.track("fraud") as run:
        models = [LogisticRegression(C=c).fit(X_train, y_train) for c in (1, 2)]
        run.log_artifact(models[0])
        version = run.register()
    assert version.params["C"] == 1


def test_a_search_brings_its_parameters_and_its_best_estimator_too(registry: ifp.Registry) -> None:
    with ifp.track("fraud") as run:
        search = GridSearchCV(DecisionTreeClassifier(random_state=0), {"max_depth": [1, 2]}, cv=2).fit(X_train, y_train)
        version = run.register(search.best_estimator_)
    assert version.params["estimator__criterion"] == "gini"
    assert version.params["param_grid"] == {"max_depth": [1, 2]}
    assert isinstance(version.load_artifact(), DecisionTreeClassifier)


def test_batches_of_partial_fit_are_the_data_they_are_cut_from(registry: ifp.Registry) -> None:
    model = SGDClassifier(random_state=0)
    with ifp.track("fraud") as run:
        for start in range(0, 400, 150):
            batch = X_train[start : start + 150].copy()
            model.partial_fit(batch, y_train[start : start + 150], classes=[0, 1])
            batch[:] = 0
        version = run.register()
    assert [d.digest for d in version.data] == [ifp.hash_data(X_train), ifp.hash_data(y_train)]


def test_weights_of_samples_are_training_data(registry: ifp.Registry) -> None:
    weights = np.linspace(0, 1, 400)
    with ifp.track("fraud") as run:
        LogisticRegression().fit(X_train, y_train, sample_weight=weights)
        version = run.register()
    assert {d.role: d.digest for d in version.data}["sample_weight"] == ifp.hash_data(weights)


def test_unsupervised_models_have_no_target(registry: ifp.Registry) -> None:
    with ifp.track("fraud") as run:
        KMeans(2, n_init=1).fit(X_train)
        assert [d.role for d in run.register().data] == ["train"]


def test_data_that_changes_after_the_fit_is_noticed(registry: ifp.Registry) -> None:
    data = X_train.copy()
    before = ifp.hash_data(data)
    with ifp.track("fraud") as run:
        LogisticRegression().fit(data, y_train)
        data[0, 0] = -1
        with pytest.warns(UserWarning, match="X was changed since it was fitted"):
            version = run.register()
    assert version.data[0].digest == before


def test_a_file_that_changes_after_it_was_logged_is_noticed(registry: ifp.Registry) -> None:
    Path("h.csv").write_text("a\n1\n")
    with ifp.track("fraud") as run:
        before = run.log_dataset("h.csv", role="holdout").digest
        LogisticRegression().fit(X_train, y_train)
        Path("h.csv").write_text("a\n22\n")
        with pytest.warns(UserWarning, match=r"h\.csv was changed"):
            version = run.register()
    assert {d.role: d.digest for d in version.data}["holdout"] == before


def growth(registry: ifp.Registry) -> set[tuple[int, int, int]]:
    """(rows, other_rows, same_rows) of each pair of tables that begin alike."""
    rows = registry.sql("SELECT rows, other_rows, same_rows FROM dataset_growth")
    return {(row["rows"], row["other_rows"], row["same_rows"]) for row in rows}


def test_a_fit_on_more_rows_of_the_same_data_has_grown(registry: ifp.Registry) -> None:
    for rows in (300, 400):
        train(data=X[:rows], target=y[:rows])
    found = registry.sql("SELECT dataset, other FROM dataset_growth WHERE rows = 400 AND other_rows = 300 AND same_rows = 300")
    pairs = {(row["dataset"], row["other"]) for row in found}
    assert pairs == {(ifp.hash_data(data[:400]), ifp.hash_data(data[:300])) for data in (X, y)}


def test_a_fit_on_other_rows_has_not_grown(registry: ifp.Registry) -> None:
    train(data=X[100:400], target=y[100:400].astype(float))
    train(data=X[:400], target=y[:400])
    assert growth(registry) == set()


@pytest.mark.parametrize("given", ["track", "log", "register"])
def test_data_that_a_run_is_told_of_is_seen_to_grow(registry: ifp.Registry, given: str) -> None:
    for rows in (300, 400):
        data = Path(f"{rows}.csv")
        data.write_text("a\n" + "".join(f"{i}\n" for i in range(rows)))
        with ifp.track("fraud", data=data if given == "track" else None, params={"rows": rows}) as run:
            if given == "log":
                run.log_dataset(data)
            run.register(partial=True, data=data if given == "register" else None)
    assert growth(registry) == {(400, 300, 300)}


def test_batches_of_partial_fit_are_seen_to_grow(registry: ifp.Registry) -> None:
    for rows in (300, 400):
        model = SGDClassifier(random_state=0)
        with ifp.track("fraud") as run:
            for start in range(0, rows, 150):
                stop = min(start + 150, rows)
                model.partial_fit(X[start:stop], y[start:stop], classes=[0, 1])
            run.register()
    assert growth(registry) == {(400, 300, 300)}


class Batches:
    """Data that scikit-learn can read and that has no digest."""

    def __init__(self, rows: Any) -> None:
        self.rows = rows

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return np.asarray(self.rows, dtype=dtype)

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.rows)


def test_data_without_a_digest_lets_the_fit_run_and_says_why(registry: ifp.Registry) -> None:
    with ifp.track("fraud") as run:
        model = DecisionTreeClassifier().fit(Batches(X_train.astype(np.float32)), y_train)
        assert model.get_depth() > 1
        with pytest.raises(ifp.Refused, match=r"data and schema parts \(.*Batches"):
            run.register()
        assert run.register(data="s3://bucket/t#v1", schema=[{"name": "a", "type": "number"}]).params["criterion"] == "gini"


def test_a_model_that_cannot_be_kept_names_its_attribute_and_leaves_nothing(registry: ifp.Registry) -> None:
    with ifp.track("fraud") as run:
        make_pipeline(FunctionTransformer(lambda rows: rows), LogisticRegression()).fit(X_train, y_train)
        with pytest.raises(ifp.UsageError, match="steps"):
            run.register()
    assert registry.models()[0].versions == 0
    assert registry.run(run.id).status == "finished"


def test_a_run_that_registered_nothing_still_tells_of_its_fit(registry: ifp.Registry) -> None:
    with pytest.raises(RuntimeError), ifp.track("fraud") as run:
        LogisticRegression(C=4).fit(X_train, y_train)
        raise RuntimeError
    found = registry.run(run.id)
    assert (found.params["C"], found.data[0].digest, found.version) == (4, ifp.hash_data(X_train), None)
    assert found.fit is not None and found.fit["method"] == "fit"


def test_without_autocapture_nothing_is_seen(registry: ifp.Registry) -> None:
    with ifp.track("fraud", autocapture=False) as run:
        LogisticRegression().fit(X_train, y_train)
        with pytest.raises(ifp.UsageError, match="no model to register"):
            run.register()
    found = registry.run(run.id)
    assert (found.params, found.data, found.artifacts, found.environment, found.fit) == ({}, (), {}, {}, None)


def test_nothing_is_captured_outside_of_a_track(registry: ifp.Registry) -> None:
    plain = LogisticRegression.__dict__["fit"]
    with ifp.track("fraud"):
        assert LogisticRegression.__dict__["fit"] is not plain
    assert LogisticRegression.__dict__["fit"] is plain


def test_a_metric_on_the_training_data_never_passes_the_gate(registry: ifp.Registry) -> None:
    ifp.registry("fraud").set_policy({"validation": {"min_f1": 0.5}})
    with ifp.track("fraud") as run:
        model = LogisticRegression().fit(X_train, y_train)
        run.log_dataset(X_train, role="holdout", name="held out")
        run.log_metric("f1", f1_score(y_train, model.predict(X_train)), dataset="held out")
        version = run.register()
    verdict = ifp.registry("fraud").gate(version.name)
    assert not verdict.passed
    assert "only measured on the training data" in verdict.failures[0].why


def test_the_random_state_of_the_start_is_kept(registry: ifp.Registry) -> None:
    np.random.seed(5)  # the legacy generator is what is observed
    with ifp.track("fraud") as run:
        drawn = np.random.random(3)
    artifact = registry.artifact(run.id, "random-state")
    state = registry.blobs.read(artifact.digest)
    assert {"numpy", "python"} <= set(json.loads(state))
    from ifpdb.capture.record import randomness

    np.random.seed(6)
    randomness.restore(state)
    assert (np.random.random(3) == drawn).all()


def test_nested_tracks_have_models_of_their_own(registry: ifp.Registry, make: Callable[..., Any]) -> None:
    with ifp.track("outer") as outer:
        LogisticRegression().fit(X_train, y_train)
        with ifp.track("inner") as inner:
            DecisionTreeClassifier().fit(X_train, y_train)
            assert inner.register().model == "inner"
        assert isinstance(outer.register().load_artifact(), LogisticRegression)


def test_a_metric_that_is_measured_later_is_an_event_and_the_gate_sees_it(registry: ifp.Registry) -> None:
    model = ifp.registry("fraud")
    with ifp.track("fraud") as run:
        fitted = LogisticRegression().fit(X_train, y_train)
        held_out = run.log_dataset(X_val, role="holdout", name="h")
        run.log_metric("acc", fitted.score(X_val, y_val), dataset=held_out)
        version = run.register()
    model.set_policy({"validation": {"min_f1": 0.5, "dataset": "h"}})
    assert not model.gate(version.name).passed
    after = version.log_metric("f1", 0.9, dataset=X_train)
    assert not model.gate(version.name).passed, "on the training data it doesn't count"
    after = version.log_metric("f1", 0.8, dataset=X_val)
    assert model.gate(version.name).passed
    assert {(m.metric, m.dataset) for m in after.measurements} >= {("f1", held_out.digest), ("acc", held_out.digest)}
    assert [event.kind for event in registry.events()][-2:] == ["measured", "measured"]
    assert after.digest == version.digest
