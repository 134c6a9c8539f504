"""Files that hold pickles: joblib's compressed ones, torch's archives, numpy's object arrays, Keras's archives.

Each is read as its own loader would read it, whole and strictly, and its pickles are followed by the inert machine. Run
as a program of its own (`main`), with little memory, so that a crafted file takes nothing down with it.
"""

from __future__ import annotations

import ast
import json
import mmap
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, Any

from .inert import Machine
from .stubs import Findings, Unreadable

UNPACKED = 4 << 30
"""Bytes that a file's compressed parts may hold, all told."""

MEMBERS, HEADER, NESTING = 1_000_000, 16 << 20, 8
MEMORY = 1 << 30
_TOO_LARGE = f"reading it needs more than {MEMORY >> 20} MiB of memory"
TORCH_MAGIC = 0x1950A86A20F9469CFC6C
ARCHIVE, ARCHIVE_END = b"PK\x03\x04", b"PK\x05\x06"

_PACKED = (b"x", b"\x1f\x8b", b"BZ", b"\xfd7zXZ", b"]\x00", b'\x04"M\x18')
"""How zlib, gzip, bzip2, xz, lzma and lz4 begin, as joblib tells them apart."""


class Reading:
    """One file being read: what was found, and what may still be unpacked."""

    def __init__(self) -> None:
        self.findings = Findings()
        self.left = UNPACKED
        self.depth = 0

    def read(self, data: memoryview, format: str) -> None:
        """Follow every pickle in `data`, a file of this format. Raises Unreadable."""
        if self.depth >= NESTING:
            raise Unreadable(f"it holds pickles within pickles, more than {NESTING} deep")
        self.depth += 1
        try:
            READERS[format](self, data)
        finally:
            self.depth -= 1

    def pickles(self, data: memoryview, at: int = 0, *, arrays: bool = False) -> None:
        """Follow pickles that stand one behind the other, up to the end."""
        start = at
        while at < len(data) or at == start:
            machine = Machine(data, at, self.findings, self.read, arrays=arrays)
            try:
                machine.run()
            except Unreadable as error:
                raise Unreadable(
                    f"{error}" if at == start else f"{len(data) - at:,} bytes behind its end are no pickle"
                ) from None
            at = machine.at

    def unpacked(self, source: IO[bytes]) -> memoryview:
        """All of a decompressed stream, in a temporary file, as far as the limit allows."""
        import tempfile

        with tempfile.TemporaryFile() as file:
            while chunk := source.read(1 << 20):
                self.left -= len(chunk)
                if self.left < 0:
                    raise Unreadable(f"it unpacks to more than {UNPACKED >> 30} GiB")
                file.write(chunk)
            file.flush()
            return mapped(file)


def mapped(file: IO[bytes]) -> memoryview:
    """The bytes of a file, without reading them."""
    import os

    return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if os.fstat(file.fileno()).st_size else b"")


@contextmanager
def _refusing(what: str) -> Iterator[None]:
    """Whatever a decompressor or parser raises on a crafted file means that it can't be read."""
    try:
        yield
    except (Unreadable, MemoryError):
        raise
    except Exception as error:
        raise Unreadable(f"{what} ({type(error).__name__}: {error})") from None


def _read_joblib(reading: Reading, data: memoryview) -> None:
    start = bytes(data[:8])
    if start.startswith(b"ZF"):
        raise Unreadable("it was written by a joblib older than 0.10")
    if start.startswith(_PACKED):
        with _refusing("its compression can't be read"):
            data = reading.unpacked(_decompressed(data, start))
    reading.pickles(data, arrays=True)


def _decompressed(data: memoryview, start: bytes) -> IO[bytes]:
    source: Any = _Bytes(data)
    if start.startswith(b"BZ"):
        import bz2

        return bz2.BZ2File(source)
    if start.startswith((b"\xfd7zXZ", b"]\x00")):
        import lzma

        return lzma.LZMAFile(source)
    if start.startswith(b'\x04"M\x18'):
        import lz4.frame  # type: ignore[import-not-found, unused-ignore]

        return lz4.frame.LZ4FrameFile(source)  # type: ignore[no-any-return, unused-ignore]
    return _Inflated(source, 31 if start.startswith(b"\x1f") else 15)  # type: ignore[return-value]


class _Bytes:
    """A memory as a file, read without copying the whole."""

    def __init__(self, data: memoryview) -> None:
        self.data, self.at = data, 0

    def read(self, count: int = -1) -> bytes:
        end = len(self.data) if count < 0 else self.at + count
        chunk = bytes(self.data[self.at : end])
        self.at += len(chunk)
        return chunk

    def seek(self, offset: int, whence: int = 0) -> int:
        self.at = max(0, (0, self.at, len(self.data))[whence] + offset)
        return self.at

    def tell(self) -> int:
        return self.at

    def seekable(self) -> bool:
        return True

    readable = seekable


class _Inflated:
    """A single zlib or gzip stream, as joblib reads it."""

    def __init__(self, source: _Bytes, bits: int) -> None:
        import zlib

        self.source, self.machine = source, zlib.decompressobj(bits)

    def read(self, count: int) -> bytes:
        while not self.machine.eof:
            packed = self.machine.unconsumed_tail or self.source.read(1 << 16)
            chunk = self.machine.decompress(packed, count)
            if chunk:
                return chunk
            if not packed:
                raise EOFError("it ends too early")
        if self.machine.unused_data or self.source.read(1):
            raise ValueError("there is more behind its end")
        return b""


def _members(data: memoryview) -> dict[str, Callable[[Reading], memoryview]]:
    """How to unpack each member of a zip archive, by name; for archives that every reader reads alike."""
    import zipfile

    with _refusing("it is a damaged archive"):
        archive = zipfile.ZipFile(_Bytes(data))
        infos = archive.infolist()
    if len(infos) > MEMBERS or len({info.filename.casefold() for info in infos}) < len(infos):
        raise Unreadable("it is an archive with too many members, or two of one name")
    if any(info.filename != info.orig_filename or not info.filename.isprintable() for info in infos):
        raise Unreadable("it is an archive with unprintable names")
    if bytes(data[:4]) != ARCHIVE or bytes(data[-22:-18]) != ARCHIVE_END or min(info.header_offset for info in infos):
        raise Unreadable("it is an archive with something before or behind its members")
    if sum(info.compress_size for info in infos) > len(data):
        raise Unreadable("it is an archive whose members overlap")

    def unpacker(info: zipfile.ZipInfo) -> Callable[[Reading], memoryview]:
        def unpack(reading: Reading) -> memoryview:
            with _refusing(f"its member {info.filename} is damaged"), archive.open(info) as member:
                return reading.unpacked(member)

        return unpack

    return {info.filename: unpacker(info) for info in infos}


def _read_torch(reading: Reading, data: memoryview) -> None:
    if bytes(data[:4]) != ARCHIVE:
        return _read_old_torch(reading, data)
    members = _members(data)
    if any(name.endswith("constants.pkl") for name in members):
        raise Unreadable("it is TorchScript, which carries its own code")
    pickles = [name for name in members if name.casefold().endswith((".pkl", ".pickle"))]
    if not any(name.endswith("/data.pkl") for name in pickles):
        raise Unreadable("it is an archive without data.pkl")
    for name in pickles:
        inner = members[name](reading)
        machine = Machine(inner, 0, reading.findings, reading.read, persistent=True)
        machine.run()
        if machine.at < len(inner):
            raise Unreadable(f"there is more behind the end of {name}")
    return None


def _read_old_torch(reading: Reading, data: memoryview) -> None:
    """Five pickles, then raw storages: what torch.save wrote before 1.6, and what a tensor in a pickle still is."""
    at = 0
    for part in range(5):
        machine = Machine(data, at, reading.findings, reading.read, persistent=True)
        found = machine.run()
        if part == 0 and found != TORCH_MAGIC:
            raise Unreadable("it doesn't begin as torch.save begins")
        at = machine.at


def _read_npy(reading: Reading, data: memoryview) -> None:
    if bytes(data[:6]) != b"\x93NUMPY" or len(data) < 12:
        raise Unreadable("it doesn't begin as an npy file")
    size = 2 if data[6] == 1 else 4
    start = 8 + size + int.from_bytes(data[8 : 8 + size], "little")
    if start > min(len(data), HEADER):
        raise Unreadable("its header reaches beyond the file")
    with _refusing("its header can't be read"):
        described = repr(ast.literal_eval(str(data[8 + size : start], "utf-8").strip())["descr"])
    if "O" in described:  # a column named with an O is taken for objects too, and then fails to be read: rather that
        reading.pickles(data, start)


def _read_npz(reading: Reading, data: memoryview) -> None:
    for name, unpack in _members(data).items():
        if name.endswith(".npy"):
            reading.read(unpack(reading), "npy")


def _read_keras(reading: Reading, data: memoryview) -> None:
    """The classes that a .keras archive's config.json names; a Lambda layer carries code of its own."""
    members = _members(data)
    if "config.json" not in members:
        raise Unreadable("it is an archive without config.json")
    text = members["config.json"](reading)
    if len(text) > HEADER:
        raise Unreadable("its config.json is too large")
    with _refusing("its config.json can't be read"):
        waiting = [json.loads(bytes(text))]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            if isinstance(name := node.get("class_name"), str):
                reading.findings.imports.add((str(node.get("module") or "keras"), name))
            waiting += node.values()
        elif isinstance(node, list):
            waiting += node


READERS: dict[str, Callable[[Reading, memoryview], None]] = {
    "pickle": lambda reading, data: reading.pickles(data),
    "joblib": _read_joblib,
    "torch": _read_torch,
    "npy": _read_npy,
    "npz": _read_npz,
    "keras": _read_keras,
}


def look(data: memoryview, format: str) -> dict[str, Any]:
    """What loading these bytes would import and change, and why not everything could be read, as plain JSON."""
    reading, problem = Reading(), None
    try:
        reading.read(data, format)
    except Unreadable as error:
        problem = str(error)
    except MemoryError:
        problem = _TOO_LARGE
    findings = reading.findings
    return {"imports": sorted(findings.imports), "changed": sorted(findings.changed), "problem": problem}


def main() -> None:
    """The program: `path format` in, one JSON document out, within MEMORY."""
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    except (ImportError, ValueError, OSError):  # no such limit here: the others stand
        pass
    with open(sys.argv[1], "rb") as file:
        sys.stdout.write(json.dumps(look(mapped(file), sys.argv[2])))
