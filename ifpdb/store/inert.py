"""A pickle machine whose globals are stubs: it follows a pickle to its end, imports nothing and calls nothing.

Stricter than the real machines wherever they differ among each other: what it can't follow exactly is Unreadable, so that
a pickle never does more lookups than were found. Standard library only: it runs in an interpreter without packages.
"""

from __future__ import annotations

import re
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections.abc import Callable
from struct import unpack
from typing import Any

from .opcodes import STEPS, STOP
from .stubs import DTYPE, Findings, Global, Made, Mapping, Opaque, Unreadable

OPCODES = 50_000_000
"""A scan gives up after this many steps: about half a minute."""

NAMES, TEXT = 100_000, 4096
"""Different names, and characters of a text that can become one: more is Unreadable."""

WRAPPER = ("joblib.numpy_pickle", "NumpyArrayWrapper")
MAKERS = {("copyreg", "_reconstructor"), ("copyreg", "__newobj__")}
LOADERS = {("torch.storage", "_load_from_bytes"): "torch", ("pickle", "loads"): "pickle", ("_pickle", "loads"): "pickle"}
"""What unpickles the bytes that it is called with, and the format it takes them for."""

_INTEGER = re.compile(rb"[+-]?(0|[1-9][0-9]{0,4000})L?")
_ELEMENT = re.compile(r"([biufcmM])(1|2|4|8|16|32)|([SUVO])([0-9]{1,9})")

Nested = Callable[[memoryview, str], None]


class Machine:
    """One pickle in `data`, from `at` on; afterwards `at` is behind it.

    `arrays`: joblib's raw arrays stand between the opcodes. `persistent`: torch's persistent ids are understood.
    `nested` is told the bytes that the pickle would have unpickled, and their format.
    """

    def __init__(
        self, data: memoryview, at: int, findings: Findings, nested: Nested, *, arrays: bool = False, persistent: bool = False
    ) -> None:
        self.data, self.at, self.findings, self.nested = data, at, findings, nested
        self.arrays, self.persistent = arrays, persistent
        self.frame = self.proto = 0
        self.loaders = False
        self.stack: list[Any] = []
        self.marked: list[list[Any]] = []
        self.memo: dict[int, Any] = {}

    def run(self) -> Any:
        """Follow the pickle to its STOP; what it gives. Raises Unreadable."""
        findings = self.findings
        start = findings.opcodes
        try:
            while (code := self.take(1)[0]) != STOP:
                findings.opcodes += 1
                if findings.opcodes > OPCODES:
                    raise Unreadable(f"it has more than {OPCODES:,} steps")
                STEPS[code](self)
            return self.pop()
        except KeyError as error:
            raise Unreadable(
                f"step {findings.opcodes - start + 1} is no opcode, or uses what was never stored ({error})"
            ) from None
        except (ValueError, OverflowError) as error:
            raise Unreadable(f"step {findings.opcodes - start} has a bad argument ({error})") from None

    # -- bytes

    def take(self, count: int) -> memoryview:
        end = self.at + count
        if end > len(self.data):
            raise Unreadable(f"it ends in the middle: {count:,} bytes announced at byte {self.at:,}")
        if self.at < self.frame < end:
            raise Unreadable("a frame ends in the middle of an opcode")
        view = self.data[self.at : end]
        self.at = end
        return view

    def number(self, layout: str, size: int) -> Any:
        return unpack(layout, self.take(size))[0]

    def line(self) -> bytes:
        start = self.at
        while self.at < len(self.data):
            chunk = bytes(self.data[self.at : self.at + TEXT])
            if (found := chunk.find(b"\n")) >= 0:
                length, self.at = self.at + found + 1 - start, start
                return bytes(self.take(length))[:-1]
            self.at += len(chunk)
            if self.at - start > 1 << 24:
                break
        raise Unreadable("a line has no end")

    def whole_number(self) -> int:
        line = self.line()
        if not _INTEGER.fullmatch(line):
            raise Unreadable("a number is not written as pickle writes it")
        return int(line.rstrip(b"L"))

    # -- stack

    def pop(self) -> Any:
        if not self.stack:
            raise Unreadable("it takes from an empty stack")
        return self.stack.pop()

    def top(self) -> Any:
        if not self.stack:
            raise Unreadable("it looks at an empty stack")
        return self.stack[-1]

    def pop_mark(self) -> list[Any]:
        if not self.marked:
            raise Unreadable("it closes a mark that was never set")
        items, self.stack = self.stack, self.marked.pop()
        return items

    def keep(self, values: list[Any]) -> list[Any]:
        """Values that go into something else. A function that unpickles may only be called then and there."""
        if self.loaders and any(isinstance(value, Global) and value.name in LOADERS for value in values):
            raise Unreadable("it hands on a function that unpickles bytes, to be called out of sight")
        return values

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def push_text(self, data: bytes | memoryview, encoding: str, errors: str = "strict") -> None:
        self.push(str(data, encoding, errors) if len(data) <= 4 * TEXT else Opaque("text"))

    def put(self, index: int) -> None:
        if not 0 <= index <= self.findings.opcodes:
            raise Unreadable(f"it stores under the number {index:,}, which no pickler would have reached")
        self.memo[index] = self.top()

    # -- names and calls

    def look_up(self, module: Any, name: Any) -> None:
        if type(module) is not str or type(name) is not str or len(module) > TEXT or len(name) > TEXT:
            raise Unreadable("it looks up a name that is computed while it is loaded")
        if self.proto < 3:
            module, name = NAME_MAPPING.get((module, name), (IMPORT_MAPPING.get(module, module), name))
        if self.arrays and name.rpartition(".")[2].endswith("ArrayWrapper") and (module, name) != WRAPPER:
            raise Unreadable(f"it holds arrays in a way that is not read: {module}.{name}")
        self.findings.imports.add((module, name))
        if len(self.findings.imports) > NAMES:
            raise Unreadable(f"it looks up more than {NAMES:,} names")
        self.loaders = self.loaders or (module, name) in LOADERS
        self.push(Global((module, name)))

    def call(self, function: Any, args: Any) -> None:
        if not isinstance(function, Global | Made):
            raise Unreadable("it calls something that can't be called")
        by = function.name if isinstance(function, Global) else None
        if by in LOADERS:
            if not (isinstance(args, tuple) and len(args) == 1 and isinstance(args[0], memoryview)):
                raise Unreadable(f"it calls {by[0]}.{by[1]} with bytes that are computed while it is loaded")
            self.nested(args[0], LOADERS[by])
        elif by in MAKERS and isinstance(args, tuple) and args and isinstance(args[0], Global):
            by = args[0].name
        self.push(Made(by, args))

    def build(self) -> None:
        (state,), target = self.keep([self.pop()]), self.top()
        if isinstance(target, Global):
            self.findings.changed.add(target.name)
        elif not isinstance(target, Made):
            raise Unreadable("it sets the state of a plain value")
        elif target.by == DTYPE:
            if target.state is not None:
                raise Unreadable("it changes a dtype after it was made")
            target.state = state
        elif target.by == WRAPPER and self.arrays:
            target.state = self.described(target.state, state)
            self.skip_array(target.state)
            self.stack[-1] = Made(None)

    # -- joblib's arrays

    def described(self, before: Any, state: Any) -> dict[str, Any]:
        if not isinstance(state, Mapping) or state.entries is None:
            raise Unreadable("an array's description is not a plain dictionary")
        return {**(before or {}), **state.entries}

    def skip_array(self, about: dict[str, Any]) -> None:
        if self.at < self.frame:
            raise Unreadable("an array begins inside a frame")
        size = item_size(about.get("dtype"))
        if size is None:
            inner = Machine(self.data, self.at, self.findings, self.nested)
            inner.run()
            self.at = inner.at
            return
        shape, count = about.get("shape"), 1
        if (
            not isinstance(shape, tuple)
            or any(type(side) is not int or not 0 <= side < 1 << 40 for side in shape)
            or len(shape) > 64
        ):
            raise Unreadable("an array's shape is no shape")
        for side in shape:
            count *= side
        if about.get("numpy_array_alignment_bytes") is not None:
            self.take(self.take(1)[0])
        self.take(count * size)


def item_size(dtype: Any) -> int | None:
    """Bytes of one element of a pickled numpy dtype, None for Python objects. Raises Unreadable when that isn't sure."""
    code = dtype.args[0] if isinstance(dtype, Made) and isinstance(dtype.args, tuple) and dtype.args else None
    found = _ELEMENT.fullmatch(code) if isinstance(code, str) else None
    state = dtype.state if found else None
    if found is None or not (state is None or (isinstance(state, tuple) and len(state) in (8, 9) and state[0] in (3, 4))):
        raise Unreadable("an array's dtype is not described in numpy's usual way")
    kind, size = found[1] or found[3], int(found[2] or found[4]) * (4 if found[3] == "U" else 1)
    if state is None:
        return None if kind == "O" else size
    length, flags = state[5], state[7]
    if type(flags) is not int or not 0 <= flags < 256 or (kind in "SUV" and length != size) or (kind == "O" and not flags & 1):
        raise Unreadable("an array's dtype contradicts itself")
    if flags & 1 and kind not in "OV":
        raise Unreadable("an array's dtype says that numbers are objects")
    return None if flags & 1 else size
