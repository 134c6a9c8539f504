"""What models are usually made of: plain containers, libraries' own classes, and the functions that rebuild them.

For the eye, not a proof: a class of these libraries can be misused too. Functions are listed one by one or by small
modules, since torch, numpy and Keras each have some that run the text that they are given.
"""

from __future__ import annotations

import re
import sys

_NAMES = {
    "builtins": "bool bytearray bytes complex dict float frozenset int list object range set slice str tuple",
    "collections": "OrderedDict Counter defaultdict deque",
    "copyreg": "_reconstructor __newobj__ __newobj_ex__",
    "_codecs": "encode",
    "datetime": "date datetime time timedelta timezone",
    "decimal": "Decimal",
    "fractions": "Fraction",
    "joblib.numpy_pickle": "NumpyArrayWrapper",
    "numpy": "abs absolute bool bool_ bytes_ clip cos datetime64 dtype exp expm1 isfinite isnan log log10 log1p log2 "
    "longdouble max maximum mean median min minimum nan_to_num ndarray reciprocal sign sin sqrt square std str_ sum tan tanh "
    "timedelta64 var void",
    "numpy._core.multiarray": "_reconstruct scalar",
    "numpy.core.multiarray": "_reconstruct scalar",
    "numpy._core.numeric": "_frombuffer",
    "numpy.core.numeric": "_frombuffer",
    "numpy.ma.core": "_mareconstruct",
    "pandas._libs.internals": "_unpickle_block",
    "pandas.core.indexes.base": "_new_Index",
    "pathlib": "Path PosixPath PurePath PurePosixPath PureWindowsPath WindowsPath",
    "pyarrow.lib": "_restore_array py_buffer type_for_alias",
    "torch": "Size device",
    "torch._tensor": "_rebuild_from_type_v2",
    "torch.storage": "_load_from_bytes",  # those bytes are followed as well
    "uuid": "UUID",
}
_EXPECTED = {f"{module}.{name}" for module, names in _NAMES.items() for name in names.split()}

_FUNCTIONS = re.compile(
    r"numpy\.(u?int|float|complex)\d+|numpy\.random\._pickle\.__\w+_ctor|torch\._utils\._rebuild_\w+"
    r"|torch\.(bool|u?int\d+|b?float\d+|complex\d+)|torch\.nn\.functional\.(relu6?|[a-z]?elu|leaky_relu|mish|tanh|hard\w+|soft\w+|log_softmax|sigmoid|\w+_loss|normalize)|scipy\.sparse\.\w+\.\w{3}_(matrix|array)"
    r"|scipy\.stats\.\w+\.(\w+_gen|rv_\w+)|(sklearn|scipy|pandas|numpy)\.[\w.]+\.__pyx_unpickle_\w+"
    r"|sklearn\.[\w.]+\.newObj|sklearn\.metrics(\.\w+)*\.\w+_(score|loss|error|distances?|kernel|similarity)"
    r"|sklearn\.feature_selection\.\w+\.(f_classif|f_regression|r_regression|chi2|mutual_info_\w+)"
    r"|sklearn\.metrics\._scorer\._passthrough_scorer|sklearn\.cluster\._kmeans\._kmeans_single_\w+"
    r"|scipy\._lib\.array_api_compat\.numpy\._aliases\.asarray"
)
_CLASSES = re.compile(
    r"(catboost|keras|lightgbm|numpy|pandas|scipy|sklearn|torch|transformers|xgboost)(\.\w+)*\._*[A-Z]\w*(\._*[A-Z]\w*)*"
)
_ROUGH = re.compile(
    r"\.(_?testing|tests?|distutils|f2py|lib|ctypeslib|hub|jit|fx|_dynamo|_inductor|_functorch|_sources|compile\w*|package|serialization"
    r"|multiprocessing|distributed|utils|onnx|io|externals|computation|dynamic_module\w*|pipelines|datasets)\."
    r"|(?i:lambda|pickler|lowlevelcallable|importer|downloader|hdfstore|datasource)"
)
"""Corners of those libraries that run code, read files or start processes."""

_FINE_UTILS = re.compile(r"sklearn\.utils\.(_bunch|_metadata_requests|_tags|_plotting)\.[A-Z]\w*")


def is_usual(module: str, name: str) -> bool:
    """Whether a global is among what models are usually made of."""
    whole = f"{module}.{name}"
    if whole in _EXPECTED or _FINE_UTILS.fullmatch(whole):
        return "." not in name
    parts = name.split(".")
    if _ROUGH.search(whole) or any(part in sys.stdlib_module_names for part in parts):
        return False
    return ("." not in name and _FUNCTIONS.fullmatch(whole) is not None) or (
        all(part.lstrip("_")[:1].isupper() for part in parts) and _CLASSES.fullmatch(whole) is not None
    )
