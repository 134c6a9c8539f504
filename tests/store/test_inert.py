"""The inert machine: what it finds is what the real unpicklers look up, and no pickle makes it do anything."""

from __future__ import annotations

import contextlib
import io
import os
import pickle
import pickletools
import struct
import sys
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections import OrderedDict
from fractions import Fraction
from typing import Any

import joblib.numpy_pickle
import numpy
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_iris
from sklearn.ensemble import GradientBoostingClassifier, HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import SVC

from ifpdb.store import containers, opcodes
from ifpdb.store import inert as machine

X, Y = load_iris(return_X_y=True)


def look(data: bytes, format: str = "pickle") -> tuple[set[str], str | None]:
    """(names, the problem if there is one)."""
    found = containers.look(memoryview(data), format)
    return {f"{module}.{name}" for module, name in found["imports"]}, found["problem"]


def really_looked_up(data: bytes, base: Any = pickle._Unpickler) -> set[str]:  # type: ignore[attr-defined]
    """The names that a real unpickler asks for, as Python 3 calls them."""
    found = set()

    class Watching(base):  # type: ignore[misc]
        def find_class(self, module: str, name: str) -> Any:
            known = (module, name)
            if self.proto < 3:
                known = NAME_MAPPING.get(known, (IMPORT_MAPPING.get(module, module), name))
            found.add(".".join(known))
            return super().find_class(module, name)

    Watching(io.BytesIO(data)).load()
    return found


def really_looked_up_by_joblib(data: bytes) -> set[str]:
    class Joblibs(joblib.numpy_pickle.NumpyUnpickler):  # type: ignore[misc]
        def __init__(self, file: io.BytesIO) -> None:
            super().__init__("", file, False)

    return really_looked_up(data, Joblibs)


class Evil:
    """Unpickling it would run a command."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("echo it ran >&2; exit 1",)


def recursive() -> list[Any]:
    holder: list[Any] = []
    holder.append((holder, {"self": holder}))
    return holder


ARRAYS: list[Any] = [
    numpy.arange(3),
    numpy.arange(12.0).reshape(3, 4).T,
    numpy.array([Fraction(1, 2), None], dtype=object),
    numpy.zeros(3, dtype=[("a", "i4"), ("b", "U3"), ("c", "f4", (2, 2))]),
    numpy.zeros(2, dtype=[("a", "i4"), ("b", object)]),
    numpy.array(["a", "bbb"]),
    numpy.array([b"a", b"bbb"]),
    numpy.array(["2020-01-01"], dtype="M8[s]"),
    numpy.zeros((0, 3)),
    numpy.array(1.5),
    numpy.array([True]),
    numpy.array([1 + 2j], dtype="c8"),
    numpy.arange(4, dtype=">i2"),
    numpy.zeros(100_000),
    numpy.ma.masked_array([1, 2], [0, 1]),
]
PLAIN: list[Any] = [
    {"plain": [1, -2, 2.5, "text", None, True, b"bytes", bytearray(b"x"), 2**80, -(2**2000), "ü\n'\"\\", {1}, frozenset([2])]},
    ["long" * 10_000, b"long" * 100_000],
    Fraction(1, 3),
    [OrderedDict(a=1), OrderedDict(b=2), Fraction(1, 2), Fraction(1, 4)],
    [len, max, min, sorted, Fraction, OrderedDict, range(3), slice(1, 2), Ellipsis, complex(1, 2)],
    [[], "collections", OrderedDict, "fractions", Fraction],
    recursive(),
    list(range(3000)),
]
MODELS: list[Any] = [
    make_pipeline(StandardScaler(), LogisticRegression(max_iter=500)),
    RandomForestClassifier(n_estimators=3, random_state=0),
    GradientBoostingClassifier(n_estimators=2, random_state=numpy.random.RandomState(0)),
    HistGradientBoostingClassifier(max_iter=2),
    KNeighborsClassifier(algorithm="kd_tree"),
    SVC(),
    GridSearchCV(LogisticRegression(max_iter=500), {"C": [0.1, 1.0]}, cv=2),
    ColumnTransformer([("a", OneHotEncoder(), [0]), ("b", StandardScaler(), [1, 2])]),
]


def name_of(value: Any) -> str:
    return f"{type(value).__name__} {getattr(value, 'dtype', '')}"


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("value", PLAIN + ARRAYS, ids=name_of)
def test_a_pickles_names_are_those_that_loading_it_looks_up(value: Any, protocol: int) -> None:
    data = pickle.dumps(value, protocol)
    assert look(data) == (really_looked_up(data), None)
    slim = pickletools.optimize(data)
    assert look(slim) == (really_looked_up(slim), None)


@pytest.mark.parametrize("protocol", [2, 5])
@pytest.mark.parametrize("model", MODELS, ids=name_of)
def test_a_models_names_are_those_that_loading_it_looks_up(model: Any, protocol: int) -> None:
    data = pickle.dumps(model.fit(X, Y), protocol)
    assert look(data) == (really_looked_up(data), None)


@pytest.mark.parametrize("protocol", [None, 2, 3])
@pytest.mark.parametrize(
    "value", [ARRAYS, PLAIN, MODELS[1], {"deep": [{"x": a} for a in ARRAYS]}], ids=["arrays", "plain", "model", "deep"]
)
def test_a_joblib_files_names_are_those_that_loading_it_looks_up(value: Any, protocol: int | None) -> None:
    if value is MODELS[1]:
        value.fit(X, Y)
    buffer = io.BytesIO()
    joblib.dump(value, buffer, protocol=protocol)
    data = buffer.getvalue()
    names, problem = look(data, "joblib")
    assert problem is None
    assert names == really_looked_up_by_joblib(data)


P = b"\x80\x04"
TEXT_OS, TEXT_SYSTEM = b"\x8c\x02os", b"\x8c\x06system"

HIDDEN = {
    "by protocol 0": b"cos\nsystem\n(S'true'\ntR.",
    "by INST": b"(S'true'\nios\nsystem\n.",
    "by OBJ": b"(cos\nsystem\nS'true'\no.",
    "by the memo": P + TEXT_OS + b"\x94" + TEXT_SYSTEM + b"\x94(h\x01h\x00" + b"0" + b"1h\x00h\x01\x93.",
    "by DUP": P + TEXT_OS + b"2" + b"0" + TEXT_SYSTEM + b"\x93.",
    "by a memo written twice": P + b"\x8c\x04math\x94" + TEXT_OS + b"q\x000h\x00" + TEXT_SYSTEM + b"\x93.",
    "by huge memo-free strings": P + b"\x8d" + struct.pack("<Q", 2) + b"os" + TEXT_SYSTEM + b"\x93.",
    "by Python 2's names": b"c__builtin__\neval\ncos\nsystem\n0.",
    "in a value that is dropped": P + TEXT_OS + TEXT_SYSTEM + b"\x930N.",
    "behind the first pickle": pickle.dumps(1) + b"cos\nsystem\n.",
    "in a state": P + b"cfractions\nFraction\n)\x81}(\x8c\x01acos\nsystem\nub.",
    "as the function of a call's result": P + b"cfunctools\npartial\ncos\nsystem\n\x85R)R.",
    "in nested bytes": P + b"c_pickle\nloads\nC" + bytes([len(b := b"cos\nsystem\n.")]) + b + b"\x85R.",
}


@pytest.mark.parametrize("data", HIDDEN.values(), ids=HIDDEN)
def test_a_name_is_found_however_it_is_looked_up(data: bytes) -> None:
    names, problem = look(data)
    assert problem is None
    assert "os.system" in names


UNREADABLE = {
    "nothing": b"",
    "no pickle": b"no pickle",
    "a protocol of the future": b"\x80\x07N.",
    "no end": pickle.dumps([1, 2])[:-1],
    "garbage behind the end": pickle.dumps([1, 2]) + b"PK",
    "a computed name": P + b"cbuiltins\nstr\n" + TEXT_OS + b"\x85R" + TEXT_SYSTEM + b"\x93.",
    "a name that is no text": P + b"K\x01" + TEXT_SYSTEM + b"\x93.",
    "a name that is bytes": P + b"C\x02os" + TEXT_SYSTEM + b"\x93.",
    "an extension code": P + b"\x82\x05.",
    "a persistent id": P + b"\x8c\x01xQ.",
    "a text persistent id": b"Pabc\n.",
    "buffers outside": P + b"\x97.",
    "a text of 2**62 bytes": P + b"\x8d" + struct.pack("<Q", 1 << 62) + b"x.",
    "bytes beyond the end": P + b"\x8e" + struct.pack("<Q", 100) + b"x.",
    "a bytearray of 2**62 bytes": P + b"\x96" + struct.pack("<Q", 1 << 62) + b".",
    "a negative length": P + b"T\xff\xff\xff\xff.",
    "a negative integer length": P + b"\x8b\xff\xff\xff\xff.",
    "marks without end": P + b"(" * 200_000 + b".",
    "a mark that is not there": P + b"t.",
    "a frame beyond the end": P + b"\x95" + struct.pack("<Q", 1 << 40) + b"N.",
    "a frame that ends inside an argument": P + b"\x95" + struct.pack("<Q", 3) + TEXT_OS + b".",
    "a frame in a frame": P + b"\x95" + struct.pack("<Q", 12) + b"\x95" + struct.pack("<Q", 1) + b"NNN.",
    "a memo that is too far": P + b"Nr\x00\x00\x00\x80.",
    "a negative memo": b"Np-1\n.",
    "a memo that was never written": P + b"h\x07.",
    "an empty stack": P + b".",
    "a call of a number": P + b"K\x01)R.",
    "the state of a list": P + b"]}b.",
    "an append to a tuple": P + b")K\x01a.",
    "a key without a value": P + b"}(K\x01u.",
    "octal numbers": b"I010\n.",
    "numbers with underscores": b"I1_0\n.",
    "an unterminated line": b"cos",
    "a text that is no ASCII": b"U\x01\xe4.",
    "a text without quotes": b"Sabc\n.",
    "a loader in a tuple": P + b"cfunctools\npartial\nc_pickle\nloads\nC\x01.\x86R)R.",
    "a loader in a marked tuple": P + b"cfunctools\npartial\n(c_pickle\nloads\nC\x01.tR.",
    "a loader as an argument of OBJ": P + b"(cfunctools\npartial\nc_pickle\nloads\no.",
    "a loader in a list": P + b"]c_pickle\nloads\na.",
    "a loader in a dictionary": P + b"}K\x01c_pickle\nloads\ns.",
    "a loader as a state": P + b"cfractions\nFraction\n)\x81c_pickle\nloads\nb.",
    "computed bytes for a loader": P + b"c_pickle\nloads\ncos\nurandom\nK\x05\x85R\x85R.",
}


@pytest.mark.parametrize("data", UNREADABLE.values(), ids=UNREADABLE)
def test_what_cannot_be_followed_exactly_is_a_problem(data: bytes) -> None:
    assert look(data)[1]


def test_pickles_nested_too_deep_are_a_problem() -> None:
    data = pickle.dumps(1)
    for _ in range(10):
        data = P + b"c_pickle\nloads\nB" + struct.pack("<I", len(data)) + data + b"\x85R."
    assert "within pickles" in str(look(data)[1])


def test_a_global_that_is_written_to_is_told() -> None:
    found = containers.look(memoryview(P + b"csklearn.base\nBaseEstimator\n}\x8c\x01aNsb."), "pickle")
    assert found["changed"] == [("sklearn.base", "BaseEstimator")]


def test_a_file_with_too_many_steps_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "OPCODES", 1000)
    assert "1,000 steps" in str(look(P + b"N0" * 1000 + b"N.")[1])
    assert look(P + b"N0" * 400 + b"N.")[1] is None


def joblib_array(**changed: Any) -> bytes:
    """A joblib file of one array whose description was tampered with, and a payload where the array's bytes should be."""
    wrapper = joblib.numpy_pickle.NumpyArrayWrapper(numpy.ndarray, (3,), "C", numpy.dtype("i8"))
    wrapper.__dict__.update(changed)
    buffer = io.BytesIO()
    pickler = pickle._Pickler(buffer, 4)  # type: ignore[attr-defined]
    pickler.dump(wrapper)
    body = buffer.getvalue()[:-1]
    size = len(body) - 11
    return body[:3] + struct.pack("<Q", size) + body[11:] + b"\x01\xff" + bytes(24) + b"."


def test_the_forged_array_would_be_read_if_it_were_honest() -> None:
    assert look(joblib_array(), "joblib")[1] is None


@pytest.mark.parametrize(
    "changed",
    [
        {"shape": (4,)},
        {"shape": (2**62, 4)},
        {"shape": (-3,)},
        {"shape": (True, 3)},
        {"shape": [3]},
        {"shape": (2**64, 0)},
        {"shape": ("3",)},
        {"dtype": "i8"},
        {"dtype": None},
        {"dtype": numpy.dtype("i4")},
        {"dtype": Fraction(1, 2)},
        {"numpy_array_alignment_bytes": None},
    ],
)
def test_a_joblib_array_that_lies_about_its_bytes_is_a_problem(changed: dict[str, Any]) -> None:
    assert look(joblib_array(**changed), "joblib")[1]


def test_a_dtype_that_hides_objects_is_a_problem() -> None:
    honest = pickle.dumps(numpy.dtype("i8"), 2)
    forged = honest.replace(b"J\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00t", b"J\xff\xff\xff\xffJ\xff\xff\xff\xffK\x01t")
    assert forged != honest
    data = joblib_array()
    start = data.index(b"cnumpy\ndtype") if b"cnumpy\ndtype" in data else data.index(b"\x8c\x05dtype")
    changed = data[:start] + data[start:].replace(
        b"J\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00t", b"J\xff\xff\xff\xffJ\xff\xff\xff\xffK\x01t"
    )
    assert changed != data
    assert "objects" in str(look(changed, "joblib")[1])


def test_raw_arrays_are_skipped_only_where_joblib_loads() -> None:
    assert look(joblib_array())[1]


VALID = [pickle.dumps(value, protocol) for value in (PLAIN[0], PLAIN[3], ARRAYS[2], [Evil()]) for protocol in range(6)]
PIECES = st.sampled_from(
    [bytes([code]) for code in opcodes.STEPS] + [b".", b"os\n", b"system\n", b"\x02os", b"\x06system", b"\0\0\0"]
)
MUTATED = st.builds(
    lambda data, at, junk: data[: at % len(data)] + junk + data[at % len(data) + len(junk) :],
    st.sampled_from(VALID),
    st.integers(0, 10_000),
    st.binary(max_size=4),
)


@given(
    st.one_of(st.binary(max_size=200), st.lists(PIECES, max_size=40).map(b"".join), MUTATED),
    st.sampled_from(sorted(containers.READERS)),
)
@example(pickle.dumps(Evil()), "pickle")
@example(b"cantigravity\ngeohash\n.", "pickle")
def test_no_bytes_make_it_fail_import_or_run_anything(data: bytes, format: str) -> None:
    before = set(sys.modules)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "system", lambda *_: pytest.fail("it ran"))
        found = containers.look(memoryview(data), format)
    assert set(found) == {"imports", "changed", "problem"}
    readers = {"bz2", "_bz2", "lzma", "_lzma", "_compression", "encodings.raw_unicode_escape"}
    assert set(sys.modules) - before <= readers


@given(MUTATED)
def test_where_a_real_unpickler_looks_something_up_so_does_the_machine(data: bytes) -> None:
    """Or it says that it can't follow: a mutated pickle never hides a name. Nothing real is ever called."""
    found = set()

    class Recording(pickle._Unpickler):  # the one in C sets gigabytes aside for a mutant's memo
        def find_class(self, module: str, name: str) -> Any:
            found.add((module, name))
            return OrderedDict

    with contextlib.suppress(Exception):  # most mutants don't load; what they had looked up until then counts
        Recording(io.BytesIO(data)).load()
    names, problem = look(data)
    known = {NAME_MAPPING.get(name, (IMPORT_MAPPING.get(name[0], name[0]), name[1])) for name in found}
    assert problem or {f"{m}.{n}" for m, n in found} <= names or {f"{m}.{n}" for m, n in known} <= names
