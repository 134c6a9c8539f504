"""Patches that stand only while a track is open: methods of class trees, functions of modules, modules still to come.

`opened` puts them in place for the first caller and takes them away after the last. What it finds at the end to be no
longer its own patch, because someone else patched on top, it leaves alone. It imports nothing: a library that isn't loaded is
patched at the moment when the user's own code imports it.
"""

from __future__ import annotations

import copy
import functools
import inspect
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from types import FunctionType, ModuleType
from typing import Any
from weakref import WeakKeyDictionary, WeakSet

from ...digest import JSON

Function = Callable[..., Any]


@dataclass(slots=True)  # not frozen: one is made for every fit, and that would cost half a microsecond
class Call:
    """A call that trains.

    `self` is the object whose method it is, None for a function. `given` are the arguments by name, in the order of the
    signature, without those left to their defaults; positional ones that the signature doesn't name are '*0', '*1', ….
    """

    method: str
    self: Any
    given: Mapping[str, Any]


@dataclass(slots=True)
class Training:
    """What a call is about to train on. `problem` says why the data can't be told; the parameters still count."""

    X: Any
    y: Any = None
    sample_weight: Any = None
    params: dict[str, JSON] = field(default_factory=dict)
    problem: str | None = None


def _itself(call: Call, _result: object) -> Any:
    return call.self


@dataclass(frozen=True, slots=True)
class Target:
    """What to patch, and how to read its calls: one row for each library.

    `module` is the dotted name of the module that *defines* the class or function, not of a package that hands it on: it is
    looked up in `sys.modules` and watched for, never imported. `owner` is a class in it, whose whole tree of subclasses is
    patched with those `methods` that each defines, or None when `methods` are functions of the module; the packages that
    hand such a function on are its `aliases` (a pickle finds it at home, people call it there), the last to load first.

    `read(call)` tells the inputs before the call runs; it may raise, which is kept as the fit's problem and never reaches the
    user. `model(call, result)` tells the trained object afterwards, or None when nothing was trained after all.
    `found(call, result)` adds parameters that the call itself chose; a search that keeps its choice to itself needs none.
    """

    module: str
    owner: str | None
    methods: tuple[str, ...]
    read: Callable[[Call], Training]
    model: Callable[[Call, Any], Any] = _itself
    found: Callable[[Call, Any], dict[str, JSON]] | None = None
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Hook:
    """Another way to watch a library, for one that has hooks of its own and needs no patch.

    `install()` is entered as soon as a track is open and `module` is loaded, and left after the last track. It runs under a
    lock that importing threads wait for, so it may import nothing but what `module` has loaded.
    """

    module: str
    install: Callable[[], AbstractContextManager[object]]


Wrap = Callable[[Function, Target, str], Function]
"""(original, target, method) to the function that takes its place."""

PICKLERS = tuple(
    f"{package}.{module}"
    for package in ("cloudpickle", "joblib.externals.cloudpickle", "ray.cloudpickle", "pyspark.cloudpickle")
    for module in ("cloudpickle", "cloudpickle_fast")
)
"""Modules whose pickler writes functions by value, and so would write ours."""

_lock = threading.RLock()
_originals: WeakKeyDictionary[Any, Any] = WeakKeyDictionary()  # what we put in place -> what stood there
_ABSENT = object()


def original_of(value: Any) -> Any:
    """What stood where `value` stands; `value` itself when it is none of ours."""
    try:
        return _originals.get(value, value)
    except TypeError:  # what can't be referred to weakly is none of ours
        return value


class _Patches:
    """Everything that is in place now. Used under the lock."""

    def __init__(self, targets: Sequence[Target], hooks: Sequence[Hook], wrap: Wrap) -> None:
        self._wrap = wrap
        self._journal: list[tuple[Any, str, Any, Any]] = []
        self._replaced: dict[tuple[Any, str], Any] = {}  # one replacement for one original: `b.fit is a.fit` stays true
        self._placed: WeakSet[Any] = WeakSet()
        self._stack = ExitStack()
        self._arrivals: dict[str, list[Callable[[ModuleType], None]]] = {}
        for target in targets:
            # a function is patched once its package is whole, lest a module inside that imports it gets ours for good
            name = target.aliases[0] if target.aliases else target.module
            self._arrivals.setdefault(name, []).append(functools.partial(self._target, target))
        for hook in hooks:
            self._arrivals.setdefault(hook.module, []).append(functools.partial(self._hook, hook))
        for name in PICKLERS:
            self._arrivals.setdefault(name, []).append(self._pickler)
        self._finder = _Arrivals(self._arrivals)
        self.standing = True

    def place(self) -> None:
        """Patch what is loaded, and watch for the rest."""
        sys.meta_path.insert(0, self._finder)
        for name in self._arrivals:
            if name in sys.modules:
                self.arrived(sys.modules[name], name)

    def remove(self) -> None:
        """Take everything away, the newest first."""
        self.standing = False
        with suppress(ValueError):
            sys.meta_path.remove(self._finder)
        for place, name, original, replacement in reversed(self._journal):
            if vars(place).get(name) is not replacement:
                continue  # someone patched on top of ours, which is inert from here on
            if original is _ABSENT:
                _delete(place, name)
            else:
                _set(place, name, original)
        self._journal.clear()
        self._replaced.clear()
        self._stack.close()

    def arrived(self, module: ModuleType, name: str) -> None:
        """Patch a module that is loaded now."""
        for install in self._arrivals.get(name, ()):
            with suppress(Exception):  # a library that isn't as we know it: its fits go unseen, its import must not fail
                install(module)

    def _target(self, target: Target, module: ModuleType) -> None:
        if target.owner is None:
            for place in (sys.modules.get(name) for name in (target.module, *target.aliases)):
                for name in target.methods if place is not None else ():
                    self._replace(place, name, target)
        elif isinstance(root := vars(module).get(target.owner), type):
            self._watch_subclasses(target, root)  # first: a class that another thread makes meanwhile is in one of the two
            for cls in _tree(root):
                self._class(target, cls)

    def _hook(self, hook: Hook, _module: ModuleType) -> None:
        self._stack.enter_context(hook.install())

    def _class(self, target: Target, cls: type) -> None:
        for name in target.methods:
            if name in cls.__dict__:
                self._replace(cls, name, target)

    def _replace(self, place: Any, name: str, target: Target) -> None:
        original = vars(place).get(name)
        if original is None or original in self._placed:
            return
        if original in _originals:  # one from an earlier time, put back by whoever had patched on top of it
            self._journal.append((place, name, _originals[original], original))
            return
        try:
            replacement = self._replaced.get((original, name)) or self._replacement(original, name, target)
            if replacement is not None:
                self._put(place, name, original, replacement)
                self._replaced[original, name] = replacement
                self._placed.add(replacement)
                _originals[replacement] = original
        except (AttributeError, TypeError):
            pass  # a class that can't be changed, such as one written in C

    def _replacement(self, original: Any, name: str, target: Target) -> Any:
        if hasattr(original, "fn") and hasattr(original, "check"):  # scikit-learn's available_if
            conditional = copy.copy(original)
            conditional.fn = self._wrap(original.fn, target, name)
            return conditional
        if isinstance(original, type | staticmethod | classmethod) or not callable(original):
            return None
        if target.owner is not None and not hasattr(original, "__get__"):
            return None  # a callable that doesn't bind, such as a partial: ours in its place would be given a `self`
        return self._wrap(original, target, name)

    def _put(self, place: Any, name: str, original: Any, replacement: Any) -> None:
        _set(place, name, replacement)
        self._journal.append((place, name, original, replacement))

    def _watch_subclasses(self, target: Target, root: Any) -> None:
        """Let classes that are made while we stand be patched too."""
        own = root.__dict__.get("__init_subclass__")

        def made(cls: Any, /, **arguments: Any) -> None:
            if own is None:
                super(root, cls).__init_subclass__(**arguments)
            else:
                own.__get__(None, cls)(**arguments)
            with _lock:
                if self.standing:
                    for ancestor in cls.__mro__[:-1]:
                        self._class(target, ancestor)

        with suppress(AttributeError, TypeError):
            self._put(root, "__init_subclass__", _ABSENT if own is None else own, classmethod(made))

    def _pickler(self, module: ModuleType) -> None:
        """Let functions pickled by value be the original ones: the bytes are the same as without us."""
        pickler = vars(module).get("Pickler") or vars(module).get("CloudPickler")
        plain = vars(pickler).get("reducer_override") if isinstance(pickler, type) else None
        if plain is None:
            return

        @functools.wraps(plain)
        def reducer_override(self: Any, obj: Any) -> Any:
            reduced = plain(self, obj)
            if type(reduced) is tuple and isinstance(obj, FunctionType) and obj in _originals:
                return plain(self, _originals[obj])
            if type(reduced) is tuple and isinstance(obj, type) and len(reduced) > 2:
                attributes = reduced[2][0]  # a class by value: (make, arguments, (its dictionary, its slots), …)
                attributes |= {name: original_of(value) for name, value in attributes.items()}
            return reduced

        self._put(pickler, "reducer_override", plain, reducer_override)


class _Arrivals:
    """A finder of modules that finds nothing itself: it lets us know when a module of the table has been loaded."""

    def __init__(self, names: Iterable[str]) -> None:
        self._names = frozenset(names)

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        if name not in self._names:
            return None
        others = [finder for finder in sys.meta_path if finder is not self and hasattr(finder, "find_spec")]
        spec = next((spec for finder in others if (spec := finder.find_spec(name, path, target)) is not None), None)
        loader: Any = spec and spec.loader
        execute = getattr(loader, "exec_module", None)
        if execute is None:
            return spec

        def exec_module(module: ModuleType) -> None:
            with suppress(AttributeError):
                del loader.exec_module  # it is the loader's own again
            execute(module)
            with _lock:
                if _standing is not None and module.__name__ == name:
                    _standing.arrived(module, name)

        with suppress(AttributeError):  # a loader that takes no attributes: its module goes unnoticed
            loader.exec_module = exec_module
        return spec


_standing: _Patches | None = None
_opened = 0


@contextmanager
def opened(targets: Sequence[Target], hooks: Sequence[Hook], wrap: Wrap) -> Iterator[None]:
    """Keep the patches in place for the block. Overlapping blocks, in whichever threads, share one set of them."""
    global _standing, _opened
    with _lock:
        _opened += 1
    try:
        with _lock:
            if _standing is None:
                _standing = _Patches(targets, hooks, wrap)
                _standing.place()
        yield
    finally:
        with _lock:
            _opened -= 1
            if not _opened and _standing is not None:
                standing, _standing = _standing, None
                standing.remove()


def names_of(function: Function) -> tuple[str, ...]:
    """The names of a function's parameters in order, as far as they can be told."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return ()
    return tuple(p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD))


def by_name(names: Sequence[str], args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a call under their parameters' names, in the order of the signature."""
    given = dict(zip(names, args))  # noqa: B905  # what is shorter decides, and saying so costs a tenth of a microsecond
    if len(args) > len(names):
        given |= {f"*{position}": value for position, value in enumerate(args[len(names) :])}
    if kwargs:
        given |= {name: kwargs[name] for name in names if name in kwargs}
        given |= kwargs
    return given


def _tree(root: type) -> Iterator[type]:
    """The root, its subclasses, and all their bases: mixins bring methods too."""
    seen: set[type] = {object}
    waiting = [root]
    known: set[type] = set()
    while waiting:
        cls = waiting.pop()
        if cls not in known:
            known.add(cls)
            waiting += type.__subclasses__(cls)
            for ancestor in cls.__mro__:
                if ancestor not in seen:
                    seen.add(ancestor)
                    yield ancestor


def _set(place: Any, name: str, value: Any) -> None:
    # past a metaclass that guards its attributes
    type.__setattr__(place, name, value) if isinstance(place, type) else setattr(place, name, value)


def _delete(place: Any, name: str) -> None:
    type.__delattr__(place, name) if isinstance(place, type) else delattr(place, name)
