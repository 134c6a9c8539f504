"""What each opcode of a pickle does to the inert machine: as the real ones do, but strictly, and with stubs.

Protocols 0 to 5, as `pickle` and `pickletools` of the standard library describe them.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .stubs import Global, Made, Mapping, Opaque, Unreadable

if TYPE_CHECKING:
    from .inert import Machine

MARKS = 100_000
"""Open marks: a pickle with more is Unreadable."""

STOP = pickle.STOP[0]
STEPS: dict[int, Callable[[Machine], None]] = {}


def _step(code: bytes) -> Callable[[Callable[[Machine], None]], Callable[[Machine], None]]:
    def register(function: Callable[[Machine], None]) -> Callable[[Machine], None]:
        STEPS[code[0]] = function
        return function

    return register


def _pushes(code: bytes, value: Callable[[Machine], Any]) -> None:
    STEPS[code[0]] = lambda machine: machine.stack.append(value(machine))


def _does(code: bytes, action: Callable[[Machine], Any]) -> None:
    STEPS[code[0]] = action


_pushes(pickle.NONE, lambda _: None)
_pushes(pickle.NEWTRUE, lambda _: True)
_pushes(pickle.NEWFALSE, lambda _: False)
_pushes(pickle.BININT, lambda m: m.number("<i", 4))
_pushes(pickle.BININT1, lambda m: m.take(1)[0])
_pushes(pickle.BININT2, lambda m: m.number("<H", 2))
_pushes(pickle.LONG, lambda m: m.whole_number())
_pushes(pickle.LONG1, lambda m: _long(m.take(m.take(1)[0])))
_pushes(pickle.LONG4, lambda m: _long(m.take(_length(m.number("<i", 4)))))
_pushes(pickle.FLOAT, lambda m: float(m.line()))
_pushes(pickle.BINFLOAT, lambda m: m.number(">d", 8))
_pushes(pickle.SHORT_BINBYTES, lambda m: m.take(m.take(1)[0]))
_pushes(pickle.BINBYTES, lambda m: m.take(m.number("<I", 4)))
_pushes(pickle.BINBYTES8, lambda m: m.take(m.number("<Q", 8)))
_pushes(pickle.EMPTY_TUPLE, lambda _: ())
_pushes(pickle.EMPTY_LIST, lambda _: Opaque("list"))
_pushes(pickle.EMPTY_SET, lambda _: Opaque("set"))
_pushes(pickle.EMPTY_DICT, lambda _: Mapping())
_pushes(pickle.DUP, lambda m: m.top())
_pushes(pickle.GET, lambda m: m.memo[m.whole_number()])
_pushes(pickle.BINGET, lambda m: m.memo[m.take(1)[0]])
_pushes(pickle.LONG_BINGET, lambda m: m.memo[m.number("<I", 4)])

_does(pickle.SHORT_BINSTRING, lambda m: m.push_text(m.take(m.take(1)[0]), "ascii"))
_does(pickle.BINSTRING, lambda m: m.push_text(m.take(_length(m.number("<i", 4))), "ascii"))
_does(pickle.UNICODE, lambda m: m.push_text(m.line(), "raw-unicode-escape"))
_does(pickle.SHORT_BINUNICODE, lambda m: m.push_text(m.take(m.take(1)[0]), "utf-8", "surrogatepass"))
_does(pickle.BINUNICODE, lambda m: m.push_text(m.take(m.number("<I", 4)), "utf-8", "surrogatepass"))
_does(pickle.BINUNICODE8, lambda m: m.push_text(m.take(m.number("<Q", 8)), "utf-8", "surrogatepass"))
_does(pickle.PUT, lambda m: m.put(m.whole_number()))
_does(pickle.BINPUT, lambda m: m.put(m.take(1)[0]))
_does(pickle.LONG_BINPUT, lambda m: m.put(m.number("<I", 4)))
_does(pickle.MEMOIZE, lambda m: m.put(len(m.memo)))
_does(pickle.GLOBAL, lambda m: m.look_up(str(m.line(), "utf-8"), str(m.line(), "utf-8")))
_does(pickle.BUILD, lambda m: m.build())
_does(pickle.POP, lambda m: m.stack.pop() if m.stack else m.pop_mark())
_does(pickle.POP_MARK, lambda m: m.pop_mark())


def _length(count: int) -> int:
    if count < 0:
        raise Unreadable("it announces fewer than no bytes")
    return count


def _long(data: memoryview) -> Any:
    return int.from_bytes(data, "little", signed=True) if len(data) <= 16 else Opaque("number")


@_step(pickle.PROTO)
def _proto(machine: Machine) -> None:
    machine.proto = machine.take(1)[0]
    if machine.proto > 5:
        raise Unreadable(f"it is of pickle protocol {machine.proto}, which is not known")


@_step(pickle.FRAME)
def _frame(machine: Machine) -> None:
    size = machine.number("<Q", 8)
    if machine.at < machine.frame or machine.at + size > len(machine.data):
        raise Unreadable("a frame reaches beyond the file or its own frame")
    machine.frame = machine.at + size


@_step(pickle.INT)
def _int(machine: Machine) -> None:
    start = machine.at
    if (line := machine.line()) in (b"00", b"01"):
        machine.push(line == b"01")
    else:
        machine.at = start
        machine.push(machine.whole_number())


@_step(pickle.STRING)
def _string(machine: Machine) -> None:
    line = machine.line()
    if len(line) < 2 or line[0] != line[-1] or line[0] not in b"'\"":
        raise Unreadable("a text has no quotes")
    machine.push_text(_unescaped(line[1:-1]), "ascii")


def _unescaped(data: bytes) -> bytes:
    import codecs

    return codecs.escape_decode(data)[0] if b"\\" in data else data  # as pickle itself does


@_step(pickle.BYTEARRAY8)
def _bytearray(machine: Machine) -> None:
    machine.take(machine.number("<Q", 8))
    machine.push(Opaque("bytearray"))


@_step(pickle.READONLY_BUFFER)
def _readonly(machine: Machine) -> None:
    value = machine.top()
    if not isinstance(value, memoryview) and not (isinstance(value, Opaque) and value.kind == "bytearray"):
        raise Unreadable("it makes a buffer of what is none")


@_step(pickle.MARK)
def _mark(machine: Machine) -> None:
    if len(machine.marked) >= MARKS:
        raise Unreadable(f"it is nested more than {MARKS:,} deep")
    machine.marked.append(machine.stack)
    machine.stack = []


def _tuple_of(count: int) -> Callable[[Machine], None]:
    def step(machine: Machine) -> None:
        if len(machine.stack) < count:
            raise Unreadable("it makes a tuple of too few values")
        machine.stack[-count:] = [tuple(machine.keep(machine.stack[-count:]))]

    return step


STEPS |= {pickle.TUPLE1[0]: _tuple_of(1), pickle.TUPLE2[0]: _tuple_of(2), pickle.TUPLE3[0]: _tuple_of(3)}


@_step(pickle.TUPLE)
def _tuple(machine: Machine) -> None:
    machine.push(tuple(machine.keep(machine.pop_mark())))


@_step(pickle.LIST)
def _list(machine: Machine) -> None:
    machine.keep(machine.pop_mark())
    machine.push(Opaque("list"))


@_step(pickle.FROZENSET)
def _frozenset(machine: Machine) -> None:
    machine.keep(machine.pop_mark())
    machine.push(Opaque("frozenset"))


@_step(pickle.DICT)
def _dict(machine: Machine) -> None:
    items = machine.pop_mark()
    machine.push(Mapping())
    _set_items(machine, items)


def _set_items(machine: Machine, items: list[Any]) -> None:
    target = machine.top()
    machine.keep(items)
    if len(items) % 2:
        raise Unreadable("a key has no value")
    if isinstance(target, Mapping):
        for key, value in zip(items[::2], items[1::2], strict=True):
            target.set(key, value)
    else:
        _grow(machine, "dict")


def _grow(machine: Machine, kind: str) -> None:
    """Values go into a list, a set, or something that a global made; into a global itself is noted."""
    target = machine.top()
    if isinstance(target, Global):
        machine.findings.changed.add(target.name)
    elif not isinstance(target, Made) and not (isinstance(target, Opaque) and target.kind == kind):
        raise Unreadable(f"it fills something that is no {kind}")


@_step(pickle.SETITEM)
def _setitem(machine: Machine) -> None:
    value, key = machine.pop(), machine.pop()
    _set_items(machine, [key, value])


@_step(pickle.SETITEMS)
def _setitems(machine: Machine) -> None:
    _set_items(machine, machine.pop_mark())


@_step(pickle.APPEND)
def _append(machine: Machine) -> None:
    machine.keep([machine.pop()])
    _grow(machine, "list")


@_step(pickle.APPENDS)
def _appends(machine: Machine) -> None:
    machine.keep(machine.pop_mark())
    _grow(machine, "list")


@_step(pickle.ADDITEMS)
def _additems(machine: Machine) -> None:
    machine.keep(machine.pop_mark())
    _grow(machine, "set")


@_step(pickle.STACK_GLOBAL)
def _stack_global(machine: Machine) -> None:
    name, module = machine.pop(), machine.pop()
    machine.look_up(module, name)


@_step(pickle.REDUCE)
def _reduce(machine: Machine) -> None:
    args, function = machine.pop(), machine.pop()
    machine.call(function, args)


@_step(pickle.INST)
def _inst(machine: Machine) -> None:
    module, name = str(machine.line(), "ascii"), str(machine.line(), "ascii")
    args = machine.pop_mark()
    machine.look_up(module, name)
    machine.call(machine.pop(), tuple(machine.keep(args)))


@_step(pickle.OBJ)
def _obj(machine: Machine) -> None:
    function, *args = machine.pop_mark() or [None]
    machine.call(function, tuple(machine.keep(args)))


def _new(machine: Machine) -> None:
    machine.pop()
    if not isinstance(function := machine.pop(), Global | Made):
        raise Unreadable("it makes an object of what is no class")
    machine.push(Made(function.name if isinstance(function, Global) else None))


@_step(pickle.NEWOBJ)
def _newobj(machine: Machine) -> None:
    _new(machine)


@_step(pickle.NEWOBJ_EX)
def _newobj_ex(machine: Machine) -> None:
    machine.pop()
    _new(machine)


@_step(pickle.BINPERSID)
def _persistent(machine: Machine) -> None:
    if not machine.persistent:
        raise Unreadable("it refers to something outside the file")
    machine.pop()
    machine.push(Made(None))


def _refuse(what: str) -> Callable[[Machine], None]:
    def step(_: Machine) -> None:
        raise Unreadable(what)

    return step


STEPS |= {
    pickle.PERSID[0]: _refuse("it refers to something outside the file"),
    pickle.NEXT_BUFFER[0]: _refuse("it refers to buffers outside the file"),
    **dict.fromkeys(
        (pickle.EXT1[0], pickle.EXT2[0], pickle.EXT4[0]),
        _refuse("it uses copyreg's extension codes, which mean something else in each process"),
    ),
}
