"""A scan in a process of its own: whatever the file, a verdict comes back, and nothing of it reached this process."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import pickle
import struct
import sys
import zipfile
import zlib
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import joblib
import numpy
import pytest

from ifpdb.store import containers, scan
from ifpdb.store.scan import Scan, scan_file


class Evil:
    def __init__(self, sign: str) -> None:
        self.sign = sign

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (self.sign,)


MKDIR = f"{os.mkdir.__module__}.mkdir"


def scanned(folder: Path, data: bytes, format: str) -> Scan:
    path = folder / "model"
    path.write_bytes(data)
    return scan_file(path, format)


def test_a_scan_names_what_a_pickle_wants_and_runs_nothing(folder: Path) -> None:
    found = scanned(folder, pickle.dumps([Evil(str(folder / "it-ran")), Fraction(1, 2)]), "pickle")
    assert found == Scan(("fractions.Fraction", MKDIR), (MKDIR,), ())
    assert not (folder / "it-ran").exists()


def test_a_scan_imports_nothing(folder: Path) -> None:
    assert scanned(folder, b"cantigravity\ngeohash\n.", "pickle").imports == ("antigravity.geohash",)
    assert "antigravity" not in sys.modules


@pytest.mark.parametrize("compress", [0, 3, ("gzip", 3), ("bz2", 3), ("xz", 3), ("lzma", 3)], ids=str)
def test_joblibs_compressed_files_are_read(folder: Path, compress: Any) -> None:
    value = {"a": Fraction(1, 2), "b": numpy.arange(1000), "c": numpy.array([None, Fraction(1, 3)], dtype=object)}
    joblib.dump(value, folder / "model", compress=compress)
    found = scan_file(folder / "model", "joblib")
    assert found.problems == ()
    assert {"fractions.Fraction", "joblib.numpy_pickle.NumpyArrayWrapper"} <= set(found.imports)
    assert found.flagged == ()


@pytest.mark.parametrize("pack", [zlib.compress, gzip.compress, bz2.compress, lzma.compress])
def test_a_cut_compressed_file_is_a_problem(folder: Path, pack: Callable[[bytes], bytes]) -> None:
    data = pack(pickle.dumps(list(range(10_000))))
    assert scanned(folder, data, "joblib").problems == ()
    assert scanned(folder, data[:-20], "joblib").problems


@pytest.mark.parametrize("pack", [zlib.compress, gzip.compress, lzma.compress])
def test_a_lengthened_compressed_file_is_a_problem(folder: Path, pack: Callable[[bytes], bytes]) -> None:
    assert scanned(folder, pack(pickle.dumps(1)) + b"more", "joblib").problems


def test_an_old_joblib_file_is_a_problem(folder: Path) -> None:
    assert "older than 0.10" in scanned(folder, b"ZF0x10" + bytes(40), "joblib").problems[0]


def test_a_bomb_of_zeros_is_refused_at_the_limit(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(containers, "UNPACKED", 1 << 20)
    bomb = zlib.compress(b"\x80\x04C\x01x" + bytes(4 << 20))
    assert "unpacks to more than" in str(containers.look(memoryview(bomb), "joblib")["problem"])


def test_a_pickle_that_needs_too_much_memory_is_a_problem(folder: Path) -> None:
    pytest.importorskip("resource")
    found = scanned(folder, b"\x80\x04" + b"}" * 20_000_000 + b".", "pickle")
    assert "memory" in found.problems[0]


def test_a_scan_that_takes_too_long_is_a_problem(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan, "TIMEOUT", 0.001)
    assert "seconds" in scanned(folder, b"N.", "pickle").problems[0]


def test_a_file_that_is_gone_is_a_problem(folder: Path) -> None:
    assert "No such file" in scan_file(folder / "gone", "pickle").problems[0]


def test_a_process_that_dies_is_a_problem(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan, "_PROGRAM", "import os; os._exit(9)")
    assert "exit code 9" in scanned(folder, b"N.", "pickle").problems[0]


def test_names_cannot_steer_a_terminal(folder: Path) -> None:
    found = scanned(folder, b"\x80\x04\x8c\x05\x1b[2Jo\x8c\x03\xed\xb2\x80\x93.", "pickle")
    assert found.imports == ("\\x1b[2Jo.\\udc80",)


def archive(**members: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in members.items():
            file.writestr(name.replace("__", "/").replace("_pkl", ".pkl").replace("_json", ".json"), data)
    return buffer.getvalue()


GOOD = archive(
    model__data_pkl=pickle.dumps(Fraction(1, 2)), model__data__0=b"\x80\x04cos\nsystem\n.", model__extra_pkl=b"cos\nsep\n."
)


def test_every_pickle_of_a_torch_archive_is_read_and_raw_weights_are_not(folder: Path) -> None:
    assert scanned(folder, GOOD, "torch") == Scan(("fractions.Fraction", "os.sep"), ("os.sep",), ())


def same_name_twice() -> bytes:
    other = archive(model__DATA_pkl=b"cos\nsystem\n.", model__data_pkl=pickle.dumps(1))
    assert containers.look(memoryview(other), "torch")["problem"]
    return other


OVERLAP = bytearray(archive(model__data_pkl=pickle.dumps(1), big=bytes(1 << 20)))
OVERLAP[OVERLAP.rindex(b"PK\x01\x02") + 20 :][:4] = struct.pack("<I", 1 << 30)
BAD_ARCHIVES = {
    "no archive": b"PK\x03\x04" + bytes(100),
    "cut": GOOD[:-30],
    "flipped": GOOD[:60] + bytes([GOOD[60] ^ 255]) + GOOD[61:],
    "something before it": b"PK\x03\x04" + GOOD,
    "something behind it": GOOD + b"more",
    "names that differ by case": same_name_twice(),
    "no data.pkl": archive(x=b"1"),
    "TorchScript": archive(model__data_pkl=pickle.dumps(1), model__constants_pkl=pickle.dumps(1)),
    "two pickles in one": archive(model__data_pkl=pickle.dumps(1) * 2),
}


@pytest.mark.parametrize("data", BAD_ARCHIVES.values(), ids=BAD_ARCHIVES)
def test_an_archive_that_readers_could_disagree_on_is_a_problem(folder: Path, data: bytes) -> None:
    assert scanned(folder, data, "torch").problems


def test_only_torchs_own_old_format_may_end_in_raw_bytes(folder: Path) -> None:
    parts = [pickle.dumps(part, 2) for part in (containers.TORCH_MAGIC, 1001, {}, Fraction(1, 2), [])]
    assert scanned(folder, b"".join(parts) + b"raw weights", "torch") == Scan(("fractions.Fraction",), (), ())
    assert scanned(folder, b"".join([pickle.dumps(7), *parts[1:]]) + b"raw weights", "torch").problems
    assert scanned(folder, b"".join(parts) + b"raw weights", "pickle").problems


def npy(array: Any) -> bytes:
    buffer = io.BytesIO()
    numpy.save(buffer, array, allow_pickle=True)
    return buffer.getvalue()


def test_numpys_object_arrays_are_read(folder: Path) -> None:
    evil = numpy.array([Evil("x")], dtype=object)
    assert MKDIR in scanned(folder, npy(evil), "npy").flagged
    assert scanned(folder, npy(numpy.arange(3)), "npy") == Scan()
    buffer = io.BytesIO()
    numpy.savez_compressed(buffer, a=evil, b=numpy.arange(2))
    assert MKDIR in scanned(folder, buffer.getvalue(), "npz").flagged
    assert scanned(folder, b"\x93NUMPY\x01\x00\xff\xff{}", "npy").problems
    assert scanned(folder, b"text", "npy").problems


def test_the_classes_that_a_keras_config_names_are_listed(folder: Path) -> None:
    config = (
        b'{"module": "keras", "class_name": "Sequential", "config": {"layers": [{"module": "os", "class_name": "system"}]}}'
    )
    found = scanned(folder, archive(config_json=config), "keras")
    assert (found.imports, found.flagged) == (("keras.Sequential", "os.system"), ("os.system",))
    assert scanned(folder, archive(config_json=b"{"), "keras").problems
    assert scanned(folder, archive(other=b"{}"), "keras").problems
    assert (
        "keras.layers.Lambda"
        in scanned(folder, archive(config_json=b'{"module": "keras.layers", "class_name": "Lambda"}'), "keras").flagged
    )


def test_scans_are_merged_without_repetition() -> None:
    assert scan.merged([Scan(("b", "a"), ("b",)), Scan(("a",), (), ("x",))]) == Scan(("a", "b"), ("b",), ("x",))
    assert scan.merged([]) == Scan()
