"""Training loops in plain torch, seen through torch's own global hooks, which stand only while a track is open.

The model is the outermost module that was called with gradients enabled, in training mode if any was, and that owns a parameter
which an optimizer has stepped. Modules are known by weak references until then. Two such modules, as a GAN has, are two fits.
A wrapper made by torch.compile, DataParallel and their like stands for the module inside it.

What isn't known: the loss, and the data, since a loop draws its batches from wherever it likes. Of the inputs it is known
what the model's forward was given: the dtype and shape of each tensor, whose first dimension is taken for the batch; another
dimension that was seen to vary is of any length. Where nothing was seen to be called (`module.compile()`, a compiled function
around the model, `forward` called by itself), the model is looked for among the living modules, and its inputs stay unknown.

A step that is itself compiled goes unseen, and so does a ReduceLROnPlateau, which leaves no trace on its optimizer. The hooks
are among what compiled code depends on: a module that is compiled inside a track, and trained on after it, is compiled once
more.
"""

from __future__ import annotations

import gc
import time
import warnings
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from ...digest import JSON
from ..schema.features import Feature, FeatureSchema, make_schema
from .fits import Fit, Watch, context, current, note_elsewhere
from .hyperparameters import parameters
from .inputs import Inputs
from .patching import Hook, by_name, names_of

PROBLEM = "torch training loops don't say what data they read: run.log_dataset(dataset), or ifp.track(…, data=dataset)"

WRAPPERS = {
    "OptimizedModule": "_orig_mod",
    "DataParallel": "module",
    "DistributedDataParallel": "module",
    "FullyShardedDataParallel": "module",
    "_FabricModule": "module",
}
"""Classes that wrap a model, and the attribute that it is under."""

UNSEEDED = 67280421310721
"""The seed that torch starts with."""

Tensors = list[tuple[str, Any, tuple[int | None, ...]]]
"""What a forward was given: (name, dtype, shape of one row) of each tensor; '*0' is the first positional argument."""


@dataclass(slots=True, eq=False)
class Loop(Fit):
    """A training loop of one module; `seconds` reach from its first forward to its last step."""

    steps: int = 0
    began: float = 0.0
    optimizers: list[dict[str, JSON]] = field(default_factory=list)

    def uses(self, optimizer: Any) -> None:
        """Take in the parameters of an optimizer: `optimizer`, `optimizer__lr`, …; of a second one `optimizer_2`, …"""
        found = optimizer_parameters(optimizer)
        if found in self.optimizers:
            return
        self.optimizers.append(found)
        if schedulers := _schedulers(optimizer):
            found |= {"scheduler": schedulers if len(schedulers) > 1 else schedulers[0]}
        self.params |= numbered(found, len(self.optimizers))


class Batches(Inputs):
    """The inputs of a training loop: no dataset, and the shapes that its model was called with."""

    def __init__(self, names: Sequence[str], first: Tensors) -> None:
        super().__init__()
        self._names = names
        self._last = first
        self._seen = {name: (dtype, shape) for name, dtype, shape in first}

    def take(self, tensors: Tensors) -> None:
        """Take in what the model was called with again: a dimension that differs is of any length."""
        if tensors == self._last:
            return
        self._last = tensors
        for name, dtype, shape in tensors:
            known, before = self._seen.setdefault(name, (dtype, shape))
            if len(shape) == len(before):
                widened = tuple(one if one == other else None for one, other in zip(before, shape, strict=True))
                self._seen[name] = known, widened

    def schema(self) -> FeatureSchema | None:
        """A tensor feature for each tensor that the model's forward takes, under its name there."""
        features = [
            Feature(position, self._named(name), "tensor", nullable=False, dtype=str(dtype).removeprefix("torch."), shape=shape)
            for position, (name, (dtype, shape)) in enumerate(self._seen.items())
        ]
        return make_schema(features) if features else None

    def _named(self, name: str) -> str:
        first, dot, rest = name.partition(".")
        given = by_name(self._names, range(int(first[1:]) + 1), {}) if first.startswith("*") else {}
        return (list(given)[-1] if given else first) + dot + rest


@dataclass(slots=True, eq=False)
class _Met:
    """A module that was called. `tensors` is None for one without parameters; `batches` is there once it is a model."""

    module: weakref.ref[Any]
    at: float
    tensors: Tensors | None
    batches: Batches | None = None


@dataclass(slots=True, eq=False)
class _Stepped:
    """An optimizer, and the loops that it stepped when `news` modules had been met."""

    optimizer: weakref.ref[Any]
    news: int
    loops: list[Loop]


class _Seen:
    """What one watch has seen of torch."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        self.met: tuple[dict[int, _Met], dict[int, _Met]] = ({}, {})  # in evaluation mode; in training mode
        self.stepped: dict[int, _Stepped] = {}
        self.news = 0

    def meet(self, module: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        """Remember the first call of a module, weakly."""
        met, key = self.met[module.training], id(module)
        tensors = None if next(module.parameters(), None) is None else tensors_of(args, kwargs)
        met[key] = _Met(weakref.ref(module, lambda _: met.pop(key, None)), time.perf_counter(), tensors)
        self.news += tensors is not None

    def assign(self, optimizer: Any) -> _Stepped:
        """Find the models that an optimizer steps, and keep each as a fit."""
        key, known = id(optimizer), self.stepped.get(id(optimizer))
        stepped = {id(one) for group in optimizer.param_groups for one in group["params"]}
        models = self._called(stepped) or ([(model, None) for model in _living(stepped)] if known is None else [])
        loops = [self._loop(model, met) for model, met in models] or (known.loops if known else [])
        for loop in loops:
            if known is None or loop not in known.loops:
                loop.uses(optimizer)
        found = _Stepped(weakref.ref(optimizer, lambda _: self.stepped.pop(key, None)), self.news, loops)
        self.stepped[key] = found
        return found

    def _called(self, stepped: set[int]) -> list[tuple[Any, _Met | None]]:
        """The outermost modules that were called and own one of these parameters; those in training mode come first."""
        for met in reversed(self.met):
            called = [(one.module(), one) for one in list(met.values()) if one.tensors is not None]
            owners = {id(module): (module, one) for module, one in called if module is not None and _owns(module, stepped)}
            if owners:
                roots = outermost([module for module, _ in owners.values()])
                return [(unwrapped(module), owners[id(module)][1]) for module in roots]
        return []

    def _loop(self, model: Any, met: _Met | None) -> Loop:
        loop = self.watch.fit_of(model)
        if not isinstance(loop, Loop):
            loop = Loop(model, "step", _seed(), problem=PROBLEM, began=met.at if met else time.perf_counter())
            if met is not None and met.tensors is not None:
                loop.described = met.batches = Batches(names_of(model.forward), met.tensors)
            self.watch.add(loop)
        return loop


@contextmanager
def hooked() -> Iterator[None]:
    """Watch torch's modules and optimizers for the block."""
    import torch
    from torch.nn.modules import module as modules
    from torch.optim.optimizer import register_optimizer_step_post_hook

    seen: dict[Watch, _Seen] = {}
    called, stepped = _hooks(seen, torch.compiler.is_compiling, torch.is_grad_enabled)
    handles = [
        modules.register_module_forward_hook(called, with_kwargs=True),
        register_optimizer_step_post_hook(stepped),
    ]
    # torch.compile'd modules warn of global hooks at every call
    warnings.filterwarnings("ignore", r"Using `torch\.compile\(module\)` when there are global hooks", UserWarning)
    ours = warnings.filters[0]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
        getattr(modules, "_global_forward_hooks_with_kwargs", {}).pop(handles[0].id, None)  # `remove` forgets this one
        if ours in warnings.filters:
            warnings.filters.remove(ours)  # type: ignore[attr-defined]  # it is a list
        seen.clear()


HOOKS: tuple[Hook, ...] = (Hook("torch", hooked),)


def _hooks(seen: dict[Watch, _Seen], is_compiling: Callable[[], bool], is_grad_enabled: Callable[[], bool]) -> Any:
    """What runs after each forward of a module and after each step of an optimizer."""

    def of(watch: Watch) -> _Seen:
        for other in list(seen):
            if not other.is_open:
                seen.pop(other, None)
        return seen.setdefault(watch, _Seen(watch))

    def called(module: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], _output: Any) -> None:
        if is_compiling():  # first of all: dynamo reads on no further
            return
        watch = current()
        if watch is None or not is_grad_enabled():
            return
        try:
            one = seen.get(watch) or of(watch)
            met = one.met[module.training].get(id(module))
            if met is None:
                one.meet(module, args, kwargs)
            elif met.batches is not None:
                met.batches.take(tensors_of(args, kwargs))
        except Exception as error:
            watch.failed.append((f"{type(module).__qualname__}.forward", f"it could not be read: {error}"))

    def stepped(optimizer: Any, _args: Any, _kwargs: Any) -> None:
        if is_compiling():
            return
        watch = current()
        if watch is None:
            if context.get() is None:
                note_elsewhere(f"{type(optimizer).__qualname__}.step")
            return
        try:
            one = seen.get(watch) or of(watch)
            found = one.stepped.get(id(optimizer))
            if found is None or found.news != one.news:
                found = one.assign(optimizer)
        except Exception as error:
            watch.failed.append((f"{type(optimizer).__qualname__}.step", f"it could not be kept: {error}"))
            return
        now = time.perf_counter()
        for loop in found.loops:
            loop.steps += 1
            loop.seconds = now - loop.began

    return called, stepped


def tensors_of(args: Sequence[Any], kwargs: Mapping[str, Any]) -> Tensors:
    """The tensors among the arguments of a forward, also those inside plain lists, tuples and dicts (`batch.mask`)."""
    from torch import Tensor

    found: Tensors = []

    def add(name: str, value: Any) -> None:
        kind = type(value)
        if issubclass(kind, Tensor):  # not isinstance: torch.fx has stand-ins that record what they are asked
            found.append((name, value.dtype, tuple(value.shape[1:])))
        elif kind is list or kind is tuple or kind is dict:
            for key, inner in value.items() if kind is dict else enumerate(value):
                add(f"{name}.{key}", inner)

    for position, value in enumerate(args):
        add(f"*{position}", value)
    for name, value in kwargs.items():
        add(name, value)
    return found


def optimizer_parameters(optimizer: Any) -> dict[str, JSON]:
    """An optimizer's class and parameters, `optimizer__lr` being the one that it started with, whatever its scheduler did.

    What is None was left to torch. Where there are several groups of parameters, what differs from the defaults in one is
    `optimizer__group0__lr`.
    """
    defaults = parameters(optimizer.defaults)
    groups = [
        parameters({name: group.get(f"initial_{name}", group[name]) for name in defaults if name in group})
        for group in optimizer.param_groups
    ]
    found = defaults | groups[0] if len(groups) == 1 else dict(defaults)
    for number, group in enumerate(groups if len(groups) > 1 else ()):
        found |= {f"group{number}__{name}": value for name, value in group.items() if value != defaults[name]}
    told = {f"optimizer__{name}": value for name, value in found.items() if value is not None}
    return {"optimizer": type(optimizer).__qualname__} | told


def numbered(found: Mapping[str, JSON], number: int) -> dict[str, JSON]:
    """The parameters of a model's first, second, … optimizer: `optimizer__lr`, `optimizer_2__lr`, …"""
    if number == 1:
        return dict(found)
    parts = {name: name.partition("__") for name in found}
    return {f"{first}_{number}{line}{rest}": found[name] for name, (first, line, rest) in parts.items()}


def unwrapped(module: Any) -> Any:
    """The user's own module inside what torch.compile, DataParallel, … made of it."""
    while (name := WRAPPERS.get(type(module).__name__)) and hasattr(inner := getattr(module, name, None), "forward"):
        module = inner
    return module


def outermost(modules: Sequence[Any]) -> list[Any]:
    """Those that are inside no other. Who was called last comes first: a module returns after those inside it."""
    inner: set[int] = set()
    for module in reversed(modules):
        if id(module) not in inner:
            inner.update(id(part) for part in module.modules() if part is not module)
    return [module for module in modules if id(module) not in inner]


def _seed() -> dict[str, JSON]:
    """What torch.manual_seed was given."""
    import torch

    seed = torch.initial_seed()
    return {} if seed == UNSEEDED else parameters({"seed": seed})


def _owns(module: Any, parameters: set[int]) -> bool:
    return any(id(parameter) in parameters for parameter in module.parameters())


def _living(stepped: set[int]) -> list[Any]:
    """The outermost modules with a forward that are alive and own one of these parameters."""
    from torch.nn import Module

    living = [one for one in gc.get_objects() if issubclass(type(one), Module)]
    modules = {id(one): one for one in map(unwrapped, living) if type(one).forward is not Module.forward}
    return outermost([module for module in modules.values() if _owns(module, stepped)])


def _schedulers(optimizer: Any) -> list[str]:
    """The classes of the schedulers of an optimizer, without those inside another.

    Only they know of it, not it of them, so it is the garbage collector that is asked, which takes its time: only where
    there is one for sure.
    """
    if not any("initial_lr" in group for group in optimizer.param_groups):
        return []
    from torch.optim.lr_scheduler import LRScheduler

    holders = gc.get_referrers(optimizer)
    if attributes := [one for one in holders if type(one) is dict and one.get("optimizer") is optimizer]:
        holders += gc.get_referrers(*attributes)
    found = [one for one in holders if issubclass(type(one), LRScheduler)]
    inner = {id(part) for one in found for part in getattr(one, "_schedulers", ())}
    return sorted({type(one).__qualname__ for one in found if id(one) not in inner})
