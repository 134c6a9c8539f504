"""What is flagged and what isn't: names that models have, and ways to run code that pickles have used."""

from __future__ import annotations

import pytest

from ifpdb.store.usual import is_usual


@pytest.mark.parametrize(
    "name",
    [
        ("sklearn.pipeline", "Pipeline"),
        ("numpy", "dtype"),
        ("numpy._core.multiarray", "_reconstruct"),
        ("numpy.random._pickle", "__bit_generator_ctor"),
        ("torch._utils", "_rebuild_tensor_v2"),
        ("torch.nn.modules.linear", "Linear"),
        ("collections", "OrderedDict"),
        ("builtins", "set"),
        ("xgboost.sklearn", "XGBClassifier"),
        ("scipy.sparse._csr", "csr_matrix"),
        ("sklearn._loss._loss", "__pyx_unpickle_CyHalfBinomialLoss"),
        ("sklearn.feature_selection._univariate_selection", "f_classif"),
        ("sklearn.utils._bunch", "Bunch"),
        ("torch", "float32"),
        ("torch.nn.functional", "gelu"),
        ("scipy.stats._continuous_distns", "uniform_gen"),
        ("scipy.stats._distn_infrastructure", "rv_continuous_frozen"),
        ("sklearn.metrics._classification", "f1_score"),
    ],
)
def test_what_models_are_made_of_is_not_flagged(name: tuple[str, str]) -> None:
    assert is_usual(*name)


@pytest.mark.parametrize(
    "name",
    [
        ("os", "system"),
        ("posix", "system"),
        ("subprocess", "Popen"),
        ("builtins", "eval"),
        ("builtins", "getattr"),
        ("importlib", "import_module"),
        ("socket", "socket"),
        ("shutil", "rmtree"),
        ("sys", "modules"),
        ("functools", "partial"),
        ("operator", "attrgetter"),
        ("_pickle", "loads"),
        ("joblib", "load"),
        ("numpy", "load"),
        ("numpy.testing._private.utils", "runstring"),
        ("numpy", "os.system"),
        ("sklearn.base", "os"),
        ("sklearn.utils", "__builtins__"),
        ("torch.hub", "load"),
        ("torch", "load"),
        ("pandas", "read_pickle"),
        ("pandas.core.computation.eval", "eval"),
        ("keras.layers", "Lambda"),
        ("my_project.features", "Encoder"),
        ("sklearnx", "Pipeline"),
        ("torch.fx.graph_module", "reduce_graph_module"),
        ("keras.src.utils.python_utils", "func_load"),
        ("transformers.dynamic_module_utils", "get_class_in_module"),
        ("torch.utils.benchmark.utils.timer", "Timer"),
        ("numpy", "vectorize"),
        ("sklearn.metrics.pairwise", "partial"),
        ("scipy.stats._distn_infrastructure", "instancemethod"),
        ("torch.nn.functional", "boolean_dispatch"),
        ("numpy.ctypeslib", "ctypes"),
        ("scipy", "LowLevelCallable"),
        ("pandas.compat.pickle_compat", "Unpickler"),
        ("collections", "OrderedDict.fromkeys"),
        ("numpy.dtype", "__reduce__"),
        ("", ""),
    ],
)
def test_everything_else_is_flagged(name: tuple[str, str]) -> None:
    assert not is_usual(*name)
