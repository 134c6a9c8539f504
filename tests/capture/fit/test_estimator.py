"""Fits captured from scikit-learn code as people write it."""

# ruff: noqa: N803  # X is what scikit-learn calls it

from __future__ import annotations

import asyncio
import contextvars
import functools
import gc
import inspect
import io
import pickle
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from ifpdb.capture.fit import fits, patching
from ifpdb.capture.fit.estimator import Fit, Watch, watching
from ifpdb.errors import Ambiguous, UsageError

np = pytest.importorskip("numpy")
pytest.importorskip("sklearn")

import joblib  # noqa: E402
from sklearn.base import BaseEstimator, ClassifierMixin, clone  # noqa: E402
from sklearn.calibration import CalibratedClassifierCV  # noqa: E402
from sklearn.cluster import KMeans  # noqa: E402
from sklearn.ensemble import (  # noqa: E402
    BaggingClassifier,
    RandomForestClassifier,
    StackingClassifier,
    VotingClassifier,
)
from sklearn.feature_selection import RFE  # noqa: E402
from sklearn.inspection import permutation_importance  # noqa: E402
from sklearn.linear_model import LogisticRegression, SGDClassifier  # noqa: E402
from sklearn.model_selection import GridSearchCV, cross_val_score, cross_validate, learning_curve  # noqa: E402
from sklearn.multiclass import OneVsRestClassifier  # noqa: E402
from sklearn.naive_bayes import GaussianNB  # noqa: E402
from sklearn.pipeline import Pipeline, make_pipeline  # noqa: E402
from sklearn.preprocessing import LabelEncoder, StandardScaler  # noqa: E402
from sklearn.utils.validation import has_fit_parameter  # noqa: E402

X = np.random.default_rng(0).normal(size=(120, 4))
Y = (X[:, 0] > 0).astype(int)
PLAIN_FIT = LogisticRegression.__dict__["fit"]


class Seen:
    """Notes the shapes of what it is given."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    def add(self, X: object, y: object | None, sample_weight: object | None, *, last: bool) -> None:
        self.calls.append(tuple(None if part is None else np.shape(part) for part in (X, y, sample_weight)))


def seen(watch: Watch) -> list[tuple[str, str]]:
    return [(type(fit.model).__name__, fit.method) for fit in watch.fits]


def calls(fit: Fit) -> list[tuple[Any, ...]]:
    assert isinstance(fit.described, Seen)
    return fit.described.calls


class Sub(LogisticRegression):
    def fit(self, X: Any, y: Any) -> Any:
        self.extra_ = 1
        return super().fit(X, y)


class Failing(BaseEstimator):
    def fit(self, X: Any, y: Any = None) -> Any:
        raise ArithmeticError("did not converge")


class Outer(ClassifierMixin, BaseEstimator):
    """Somebody's own estimator that fits another inside."""

    def fit(self, X: Any, y: Any) -> Any:
        self.classes_ = np.unique(y)
        self.inner_ = LogisticRegression().fit(X, y)
        return self

    def predict(self, X: Any) -> Any:
        return self.inner_.predict(X)


# what counts as a fit


@pytest.mark.parametrize(
    "model",
    [
        LogisticRegression(),
        make_pipeline(StandardScaler(), LogisticRegression()),
        GridSearchCV(make_pipeline(StandardScaler(), LogisticRegression()), {"logisticregression__C": [0.1, 1]}, cv=2),
        RandomForestClassifier(5, n_jobs=2),
        BaggingClassifier(n_estimators=3, n_jobs=2),
        StackingClassifier([("a", LogisticRegression()), ("b", GaussianNB())], cv=2),
        VotingClassifier([("a", LogisticRegression()), ("b", GaussianNB())]),
        RFE(LogisticRegression()),
        OneVsRestClassifier(LogisticRegression()),
        CalibratedClassifierCV(LogisticRegression(), cv=2),
        Sub(),
        Outer(),
        GridSearchCV(Outer(), {}, cv=2),
    ],
    ids=lambda model: type(model).__name__,
)
def test_the_outermost_fit_is_the_one_that_counts(model: Any) -> None:
    with watching(Seen) as watch:
        model.fit(X, Y)
    assert seen(watch) == [(type(model).__name__, "fit")]
    assert watch.candidate().model is model
    assert calls(watch.fits[0]) == [((120, 4), (120,), None)]
    assert watch.fits[0].problem is None
    assert watch.fits[0].seconds > 0


@pytest.mark.parametrize(
    ("model", "method", "given"),
    [
        (StandardScaler(), "fit_transform", (X,)),  # from a mixin
        (KMeans(2, n_init=1, max_iter=5), "fit_predict", (X,)),
        (make_pipeline(StandardScaler(), StandardScaler()), "fit_transform", (X,)),  # conditional: available_if
        (LabelEncoder(), "fit_transform", (Y,)),
    ],
    ids=["mixin", "fit_predict", "available_if", "labels"],
)
def test_every_way_to_fit_counts_once(model: Any, method: str, given: tuple[Any, ...]) -> None:
    with watching(Seen) as watch:
        getattr(model, method)(*given)
    assert seen(watch) == [(type(model).__name__, method)]
    assert calls(watch.fits[0]) == [(given[0].shape, None, None)]


@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_a_parallel_search_is_one_fit(backend: str) -> None:
    search = GridSearchCV(Sub(), {"C": [0.1, 1]}, cv=2, n_jobs=2)
    with watching(Seen) as watch, joblib.parallel_backend(backend):
        search.fit(X, Y)
    assert seen(watch) == [("GridSearchCV", "fit")]
    assert not watch.elsewhere


def test_the_data_is_told_apart_from_the_other_arguments() -> None:
    weight = np.ones(len(X))
    with watching(Seen) as watch:
        SGDClassifier().fit(y=Y, X=X, sample_weight=weight)
        make_pipeline(StandardScaler(), GaussianNB()).fit(X, Y, gaussiannb__sample_weight=weight)
        KMeans(2, n_init=1).fit(X, sample_weight=weight)
    assert [calls(fit) for fit in watch.fits] == [
        [((120, 4), (120,), (120,))],
        [((120, 4), (120,), (120,))],
        [((120, 4), None, (120,))],
    ]


def test_numbers_and_words_that_a_fit_is_given_are_parameters() -> None:
    class Net(BaseEstimator):
        def __init__(self, width: int = 3) -> None:
            self.width = width

        def fit(self, X: Any, y: Any = None, *, epochs: int = 1, monitor: object = None, **more: Any) -> Any:
            return self

    with watching(Seen) as watch:
        Net().fit(X, Y, epochs=5, monitor=object(), optimizer="adam")
    assert watch.fits[0].params == {"width": 3, "fit__epochs": 5, "fit__optimizer": "adam"}


def test_a_fit_with_positional_arguments_of_no_name_is_described() -> None:
    class Loose(BaseEstimator):
        def fit(self, *args: Any) -> Any:
            return self

    with watching(Seen) as watch:
        Loose().fit(X, Y)
    assert calls(watch.fits[0]) == [((120, 4), (120,), None)]


def test_parameters_and_seed_are_those_of_before_the_fit() -> None:
    model = make_pipeline(StandardScaler(), SGDClassifier(random_state=7, alpha=0.01))
    with watching(Seen) as watch:
        model.fit(X, Y)
        model.set_params(sgdclassifier__alpha=99.0)
    assert watch.fits[0].params["sgdclassifier__alpha"] == 0.01
    assert watch.fits[0].seed == 7


def test_calls_of_partial_fit_are_one_fit_whose_data_accumulates() -> None:
    model = SGDClassifier()
    with watching(Seen) as watch:
        for start in range(0, 120, 40):
            model.partial_fit(X[start : start + 40], Y[start : start + 40], classes=[0, 1])
    assert seen(watch) == [("SGDClassifier", "partial_fit")]
    assert calls(watch.fits[0]) == [((40, 4), (40,), None)] * 3


def test_a_failed_call_of_partial_fit_is_a_problem_of_the_data() -> None:
    model = SGDClassifier()
    with watching(Seen) as watch:
        model.partial_fit(X, Y, classes=[0, 1])
        with pytest.raises(ValueError, match="features"):
            model.partial_fit(X[:, :2], Y)
    assert watch.fits[0].problem == "a call of partial_fit failed, and its data is among the data described"
    assert watch.fits[0].described is None


def test_a_refit_replaces_the_fit_of_the_same_object() -> None:
    model = LogisticRegression()
    with watching(Seen) as watch:
        model.fit(X, Y)
        model.fit(X[:60], Y[:60])
    assert [calls(fit) for fit in watch.fits] == [[((60, 4), (60,), None)]]


def test_fits_by_functions_of_the_library_are_not_the_users() -> None:
    with watching(Seen) as watch:
        model = LogisticRegression().fit(X, Y)
        for other in (SGDClassifier(), Outer()):
            cross_val_score(other, X, Y, cv=2)
            cross_validate(other, X, Y, cv=2, n_jobs=2)
            learning_curve(other, X, Y, cv=2)
        permutation_importance(model, X, Y, n_repeats=2)
    assert seen(watch) == [("LogisticRegression", "fit")]


def test_a_failed_fit_is_noted_and_its_error_passes_untouched() -> None:
    with watching(Seen) as watch, pytest.raises(ArithmeticError, match="did not converge") as caught:
        Failing().fit(X)
    assert watch.fits == []
    assert watch.failed == [("Failing.fit", "ArithmeticError: did not converge")]
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


@pytest.mark.parametrize("broken", ["describe", "add"])
def test_an_error_while_the_data_is_described_is_kept_and_the_fit_runs_on(broken: str) -> None:
    class Broken(Seen):
        def __init__(self) -> None:
            if broken == "describe":
                raise MemoryError("no room")

        def add(self, X: object, y: object | None, sample_weight: object | None, *, last: bool) -> None:
            raise MemoryError("no room")

    with watching(Broken) as watch:
        model = LogisticRegression(C=0.5).fit(X, Y)
    assert model.predict(X).shape == (120,)
    fit = watch.candidate()
    assert (fit.described, fit.problem, fit.params["C"]) == (None, "MemoryError: no room", 0.5)


def test_parameters_that_cannot_be_read_do_not_stop_the_fit() -> None:
    class Odd(BaseEstimator):
        def get_params(self, deep: bool = True) -> Any:
            raise RuntimeError("none of your business")

        def fit(self, X: Any) -> Any:
            self.done_ = True
            return self

    with watching(Seen) as watch:
        assert Odd().fit(X).done_
    assert watch.fits[0].problem == "RuntimeError: none of your business"


def test_the_data_is_not_kept_alive() -> None:
    class Held(np.ndarray):  # type: ignore[misc,name-defined]
        pass

    data = X.copy().view(Held)
    gone = weakref.ref(data)
    with watching(Seen) as watch:
        LogisticRegression().fit(data, Y)
        SGDClassifier().partial_fit(data, Y, classes=[0, 1])
        del data
        gc.collect()
        assert gone() is None
    assert len(watch.fits) == 2


# which track a fit belongs to


def test_the_innermost_track_has_the_fit() -> None:
    with watching(Seen) as outer:
        LogisticRegression().fit(X, Y)
        with watching(Seen) as inner:
            SGDClassifier().fit(X, Y)
        GaussianNB().fit(X, Y)
    assert seen(outer) == [("LogisticRegression", "fit"), ("GaussianNB", "fit")]
    assert seen(inner) == [("SGDClassifier", "fit")]


def test_a_track_opened_inside_a_fit_has_fits_of_its_own() -> None:
    inner: list[Watch] = []

    class Tracking(BaseEstimator):
        def fit(self, X: Any, y: Any) -> Any:
            with watching(Seen) as watch:
                inner.append(watch)
                GaussianNB().fit(X, y)
            return self

    with watching(Seen) as outer:
        Tracking().fit(X, Y)
    assert (seen(outer), seen(inner[0])) == ([("Tracking", "fit")], [("GaussianNB", "fit")])


def test_threads_with_tracks_of_their_own_do_not_mix() -> None:
    def train(model: Any) -> list[tuple[str, str]]:
        with watching(Seen) as watch:
            for _ in range(10):
                model.fit(X, Y)
            return seen(watch)

    models = [LogisticRegression(), RandomForestClassifier(3), SGDClassifier()]
    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(train, models)) == [[(type(model).__name__, "fit")] for model in models]


def test_a_thread_without_the_context_is_named_as_the_reason() -> None:
    with watching(Seen) as watch:
        thread = threading.Thread(target=lambda: SGDClassifier().fit(X, Y), name="trainer")
        thread.start()
        thread.join()
    with pytest.raises(UsageError, match=r"SGDClassifier\.fit in thread trainer ran outside its context"):
        watch.candidate()


def test_a_thread_with_the_context_belongs_to_the_track() -> None:
    with watching(Seen) as watch:
        copied = contextvars.copy_context()
        thread = threading.Thread(target=copied.run, args=(SGDClassifier().fit, X, Y))
        thread.start()
        thread.join()
    assert seen(watch) == [("SGDClassifier", "fit")]


def test_tasks_of_asyncio_do_not_mix() -> None:
    async def train(model: Any) -> list[tuple[str, str]]:
        with watching(Seen) as watch:
            await asyncio.sleep(0)
            await asyncio.to_thread(model.fit, X, Y)
            await asyncio.sleep(0)
            return seen(watch)

    async def both() -> Any:
        return await asyncio.gather(train(LogisticRegression()), train(SGDClassifier()))

    assert asyncio.run(both()) == [[("LogisticRegression", "fit")], [("SGDClassifier", "fit")]]


def test_a_task_that_outlives_the_track_is_not_seen() -> None:
    async def late(ended: asyncio.Event) -> None:
        await ended.wait()
        LogisticRegression().fit(X, Y)

    async def main() -> Watch:
        ended = asyncio.Event()
        with watching(Seen) as watch:
            task = asyncio.create_task(late(ended))
        ended.set()
        with watching(Seen):
            await task
        return watch

    assert asyncio.run(main()).fits == []


def test_a_track_may_be_left_in_another_context_than_entered() -> None:
    entered = watching(Seen)
    contextvars.copy_context().run(entered.__enter__)
    entered.__exit__(None, None, None)
    assert fits.current() is None
    assert LogisticRegression.__dict__["fit"] is PLAIN_FIT


# nothing is changed for others


@contextmanager
def failing_block() -> Iterator[Watch]:
    with pytest.raises(KeyboardInterrupt), watching(Seen) as watch:
        yield watch
        raise KeyboardInterrupt


@pytest.mark.parametrize("block", [lambda: watching(Seen), failing_block], ids=["left", "by an exception"])
def test_everything_is_as_it_was_after_the_block(block: Callable[[], Any]) -> None:
    def everything() -> dict[Any, Any]:
        classes = [BaseEstimator, *all_subclasses(BaseEstimator)]
        return {cls: dict(cls.__dict__) for ancestor in classes for cls in ancestor.__mro__[:-1]}

    before, finders = everything(), list(sys.meta_path)
    with block():
        assert LogisticRegression.__dict__["fit"] is not PLAIN_FIT
    after = everything()
    changed = [cls for cls in before if dict(after[cls]) != before[cls] or list(after[cls]) != list(before[cls])]
    assert changed == []
    assert sys.meta_path == finders


def all_subclasses(cls: type) -> set[type]:
    return {cls}.union(*(all_subclasses(sub) for sub in type.__subclasses__(cls)))


def test_patches_last_as_long_as_any_track() -> None:
    first, second = watching(Seen), watching(Seen)
    first.__enter__()
    watch = second.__enter__()
    first.__exit__(None, None, None)
    LogisticRegression().fit(X, Y)
    second.__exit__(None, None, None)
    assert LogisticRegression.__dict__["fit"] is PLAIN_FIT
    assert watch.fits == []  # the first to leave takes the context back to where it found it
    assert fits.current() is None


def test_a_patch_that_someone_put_on_top_is_left_alone() -> None:
    def fitted() -> list[tuple[str, str]]:
        with watching(Seen) as watch:
            Sub().fit(X, Y)
            LogisticRegression().fit(X, Y)
        return seen(watch)

    both = [("Sub", "fit"), ("LogisticRegression", "fit")]
    with watching(Seen) as watch:
        ours = LogisticRegression.fit

        @functools.wraps(ours)
        def theirs(self: Any, *args: Any, **kwargs: Any) -> Any:
            return ours(self, *args, **kwargs)

        LogisticRegression.fit = theirs
        LogisticRegression().fit(X, Y)
    try:
        assert LogisticRegression.fit is theirs
        LogisticRegression().fit(X, Y)
        assert seen(watch) == [("LogisticRegression", "fit")]
        assert fitted() == both
        assert LogisticRegression.fit is theirs
        LogisticRegression.fit = ours  # they undo their patch, and ours is back
        LogisticRegression().fit(X, Y)
        assert fitted() == both
        assert LogisticRegression.fit is PLAIN_FIT
    finally:
        LogisticRegression.fit = PLAIN_FIT


def test_a_class_that_is_made_inside_is_seen_and_restored() -> None:
    class Meta(type(BaseEstimator)):  # type: ignore[misc]
        def __setattr__(cls, name: str, value: object) -> None:
            raise AttributeError(f"{name} is final")

    with watching(Seen) as watch:

        class Mixin:
            def partial_fit(self, X: Any, y: Any) -> Any:
                return self

        class Late(Mixin, BaseEstimator, metaclass=Meta):
            def fit(self, X: Any, y: Any) -> Any:
                return self

        Late().fit(X, Y)
        Late().partial_fit(X, Y)
    assert seen(watch) == [("Late", "fit"), ("Late", "partial_fit")]
    assert patching.original_of(Late.fit) is Late.fit
    assert patching.original_of(Mixin.partial_fit) is Mixin.partial_fit


def test_signatures_clones_and_metadata_are_intact() -> None:
    plain = inspect.signature(LogisticRegression.fit)
    with watching(Seen):
        assert inspect.signature(LogisticRegression.fit) == plain
        assert inspect.signature(Pipeline.fit_transform)
        assert has_fit_parameter(LogisticRegression(), "sample_weight")
        assert clone(Sub(C=3)).C == 3
        assert LogisticRegression.fit.__qualname__ == "LogisticRegression.fit"
        assert not hasattr(make_pipeline(LogisticRegression()), "fit_predict")
        assert Borrowing.__dict__["fit"] is Failing.__dict__["fit"]


class Borrowing(BaseEstimator):
    fit = Failing.fit


def test_a_library_that_is_imported_inside_is_patched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library = tmp_path / "arriving_library.py"
    library.write_text("class Machine:\n    def fit(self, X):\n        return self\ndef train(data):\n    return Machine()\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    read = lambda call: patching.Training(next(iter(call.given.values())))  # noqa: E731
    targets = (
        patching.Target("arriving_library", "Machine", ("fit",), read),
        patching.Target("arriving_library", None, ("train",), read, lambda call, result: result),
    )
    monkeypatch.setattr("ifpdb.capture.fit.estimator.TARGETS", targets)
    monkeypatch.delitem(sys.modules, "arriving_library", raising=False)
    with watching(Seen) as watch:
        import arriving_library  # type: ignore[import-not-found]

        machine = arriving_library.Machine().fit(X)
        trained = arriving_library.train(X)
    assert [fit.model for fit in watch.fits] == [machine, trained]
    assert arriving_library.Machine.fit.__code__.co_filename == str(library)
    assert arriving_library.train.__code__.co_filename == str(library)
    monkeypatch.delitem(sys.modules, "arriving_library")


# pickles


def pickled(value: object, how: str) -> bytes:
    if how == "pickle":
        return pickle.dumps(value)
    if how == "joblib":
        held = io.BytesIO()
        joblib.dump(value, held)
        return held.getvalue()
    cloudpickle = pytest.importorskip("cloudpickle")
    return bytes(cloudpickle.dumps(value))


@pytest.mark.parametrize("how", ["pickle", "joblib", "cloudpickle"])
def test_pickles_are_the_same_bytes_inside_a_track(how: str) -> None:
    model = make_pipeline(StandardScaler(), Sub()).fit(X, Y)

    def all_of_it() -> list[bytes]:
        return [pickled(value, how) for value in (model, model.fit, LogisticRegression.fit, Pipeline)]

    plain = all_of_it()
    with watching(Seen):
        assert all_of_it() == plain
        model.fit(X, Y)
        assert all_of_it() == plain
    assert all_of_it() == plain


def test_a_class_pickled_by_value_has_its_own_methods() -> None:
    cloudpickle = pytest.importorskip("cloudpickle")
    names: dict[str, Any] = {"__name__": "__main__"}
    exec(  # a class of __main__ can't be found by name in another process: it goes by value
        "from sklearn.base import BaseEstimator\n"
        "from sklearn.utils.metaestimators import available_if\n"
        "class Mine(BaseEstimator):\n"
        "    def __init__(self, c=1): self.c = c\n"
        "    def fit(self, X, y=None): self.n_ = len(X); return self\n"
        "    @available_if(lambda self: True)\n"
        "    def fit_transform(self, X): return self.fit(X)\n"
        "    train = fit\n"
        "class Heir(Mine):\n"
        "    def fit(self, X, y=None): return super().fit(X)\n"
        "def use(X): return Heir.fit\n",
        names,
    )
    mine = names["Mine"]().fit(X)
    values = [mine, names["Mine"], names["Heir"](), names["use"], mine.fit, names["Mine"].fit]
    plain = [cloudpickle.dumps(value) for value in values]
    with watching(Seen):
        values[-1] = names["Mine"].fit
        assert [cloudpickle.dumps(value) for value in values] == plain
        again = pickle.loads(plain[0])
    assert again.n_ == 120


def test_cloudpickle_that_is_imported_inside_writes_the_same_bytes() -> None:
    import subprocess

    pytest.importorskip("cloudpickle")
    script = (
        "import sys\n"
        "from sklearn.base import BaseEstimator\n"
        "for name in [name for name in sys.modules if 'cloudpickle' in name]: del sys.modules[name]\n"
        "from ifpdb.capture.fit.estimator import watching\n"
        "class Mine(BaseEstimator):\n"
        "    def fit(self, X): return self\n"
        "with watching(list):\n"
        "    import cloudpickle\n"
        "    inside = cloudpickle.dumps(Mine())\n"
        "assert inside == cloudpickle.dumps(Mine())\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", script], check=True, timeout=120)


# threads that open and close


def test_tracks_open_and_close_in_many_threads_while_fits_run() -> None:
    class Quick(BaseEstimator):
        def __init__(self, name: int = 0) -> None:
            self.name = name

        def fit(self, X: Any, y: Any = None) -> Any:
            self.done_ = True
            return self

    wrong: list[object] = []

    def work(name: int) -> None:
        for turn in range(25):
            with watching(Seen) as watch:
                models = [Quick(name * 1000 + turn).fit(X, Y) for _ in range(1 + turn % 3)]
                type("Made", (Quick,), {"fit": lambda self, X: self})().fit(X)
            if [fit.model for fit in watch.fits[:-1]] != models:
                wrong.append((name, turn, watch.fits))

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(work, range(8)))
    finally:
        sys.setswitchinterval(interval)
    assert wrong == []
    assert LogisticRegression.__dict__["fit"] is PLAIN_FIT
    assert patching.original_of(Quick.fit) is Quick.fit


def test_tracks_that_open_and_close_at_the_same_moment_leave_nothing_behind() -> None:
    together = threading.Barrier(6)

    def work(_: int) -> list[bool]:
        found = []
        for _ in range(20):
            together.wait(60)
            with watching(Seen) as watch:
                LogisticRegression(max_iter=1000).fit(X[:20], Y[:20])
                found.append(len(watch.fits) == 1)
                together.wait(60)
        return found

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        with ThreadPoolExecutor(6) as pool:
            assert all(all(found) for found in pool.map(work, range(6)))
    finally:
        sys.setswitchinterval(interval)
    assert LogisticRegression.__dict__["fit"] is PLAIN_FIT
    assert not [finder for finder in sys.meta_path if isinstance(finder, patching._Arrivals)]


def test_entering_imports_nothing() -> None:
    import subprocess

    script = (
        "import sys\n"
        "from ifpdb.capture.fit.estimator import watching\n"
        "before = set(sys.modules)\n"
        "with watching(list): pass\n"
        "assert set(sys.modules) == before, set(sys.modules) - before\n"
        "assert not {'numpy', 'sklearn', 'xgboost'} & before\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)


# which of them is the model


def test_next_to_a_model_what_only_transforms_is_a_preparation() -> None:
    with watching(Seen) as watch:
        scaled = StandardScaler().fit_transform(X)
        model = LogisticRegression().fit(scaled, Y)
    assert watch.candidate().model is model


def test_two_models_are_named_and_none_is_guessed() -> None:
    with watching(Seen) as watch:
        LogisticRegression(C=0.5).fit(X, Y)
        GaussianNB().fit(X, Y)
    with pytest.raises(Ambiguous, match=r"2 models .*LogisticRegression\(C=0\.5.*GaussianNB\(.*run\.register\(model="):
        watch.candidate()


def test_the_whole_is_meant_where_a_part_was_fitted_too() -> None:
    from sklearn.frozen import FrozenEstimator

    with watching(Seen) as watch:
        base = LogisticRegression().fit(X, Y)
        whole = CalibratedClassifierCV(FrozenEstimator(base)).fit(X, Y)
    assert watch.candidate().model is whole


def test_no_fit_is_said_with_the_likely_reason() -> None:
    with watching(Seen) as watch:
        pass
    with pytest.raises(UsageError, match=r"no fit was seen inside this track: .*before the block.*run\.register\(model="):
        watch.candidate()


def test_a_failed_fit_is_the_reason_where_there_is_no_other() -> None:
    with watching(Seen) as watch, pytest.raises(ArithmeticError):
        Failing().fit(X)
    with pytest.raises(UsageError, match=r"Failing\.fit failed with ArithmeticError: did not converge"):
        watch.candidate()


def test_a_fit_is_found_by_its_object_or_by_a_part_of_it() -> None:
    search = GridSearchCV(make_pipeline(StandardScaler(), LogisticRegression()), {"logisticregression__C": [0.1, 1]}, cv=2)
    with watching(Seen) as watch:
        search.fit(X, Y)
    (fit,) = watch.fits
    assert watch.find(search) is fit
    assert watch.find(search.best_estimator_) is fit
    assert watch.find(search.best_estimator_[-1]) is fit
    assert watch.find(LogisticRegression()) is None
