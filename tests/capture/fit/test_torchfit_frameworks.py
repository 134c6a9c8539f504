"""Training loops in plain torch, as people write them."""

from __future__ import annotations

import contextvars
import gc
import io
import subprocess
import sys
import threading
import warnings
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.nn.modules import module as modules  # noqa: E402
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, OneCycleLR, SequentialLR  # noqa: E402

from ifpdb.capture.fit.estimator import Watch, watching  # noqa: E402
from ifpdb.capture.fit.inputs import Inputs  # noqa: E402
from ifpdb.capture.fit.torchfit import PROBLEM, Loop, optimizer_parameters  # noqa: E402
from ifpdb.errors import Ambiguous, UsageError  # noqa: E402

pytestmark = pytest.mark.frameworks

OPTIMIZERS: Any = sys.modules["torch.optim.optimizer"]


def net() -> Any:
    return nn.Sequential(nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 1))


def train(model: Any, *, steps: int = 3, optimizer: Any = None, schedule: Any = None, rows: int = 5) -> Any:
    optimizer = optimizer or torch.optim.SGD(model.parameters(), lr=0.1)
    scheduler = schedule(optimizer) if schedule else None
    for _ in range(steps):
        optimizer.zero_grad()
        model(torch.ones(rows, 8)).sum().backward()
        optimizer.step()
        if scheduler:
            scheduler.step()
    return optimizer


def only(watch: Watch) -> Loop:
    fit = watch.candidate()
    assert isinstance(fit, Loop)
    assert watch.failed == []
    return fit


def inputs(loop: Loop) -> list[tuple[str, str | None, tuple[int | None, ...] | None]]:
    assert isinstance(loop.described, Inputs)
    schema = loop.described.schema()
    return [(one.name, one.dtype, one.shape) for one in schema.features] if schema else []


# the model, its parameters and its inputs


def test_a_training_loop_is_a_fit_of_the_outermost_module() -> None:
    model = net()
    with watching(Inputs) as watch:
        train(model, optimizer=torch.optim.Adam(model.parameters(), lr=0.01))
    loop = only(watch)
    assert (loop.model is model, loop.method, loop.steps) == (True, "step", 3)
    assert loop.seconds > 0
    assert loop.params["optimizer"] == "Adam"
    assert loop.params["optimizer__lr"] == 0.01
    assert loop.params["optimizer__betas"] == [0.9, 0.999]
    assert inputs(loop) == [("input", "float32", (8,))]


def test_the_seed_is_the_one_that_torch_was_given() -> None:
    before = torch.get_rng_state()
    try:
        with watching(Inputs) as watch:
            torch.manual_seed(11)
            train(net())
    finally:
        torch.set_rng_state(before)
    assert only(watch).seed == 11


def test_a_rate_changed_by_hand_is_no_second_optimizer() -> None:
    model = net()
    with watching(Inputs) as watch:
        optimizer = train(model)
        optimizer.param_groups[0]["lr"] = 0.05
        net()(torch.ones(2, 8))  # a module that wasn't there before
        train(model, optimizer=optimizer)
    params = only(watch).params
    assert params["optimizer__lr"] == 0.1
    assert "optimizer_2" not in params


def test_a_symbolic_trace_is_left_as_it_is() -> None:
    class Outer(nn.Module):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.inner = Reader()

        def forward(self, ids: Any) -> Any:
            return self.inner(ids)

    plain = str(torch.fx.symbolic_trace(Outer()).graph)
    with watching(Inputs) as watch:
        assert str(torch.fx.symbolic_trace(Outer()).graph) == plain
    assert watch.failed == []


def test_the_data_is_a_problem_that_says_what_to_do() -> None:
    with watching(Inputs) as watch:
        train(net())
    loop = only(watch)
    assert loop.problem == PROBLEM
    assert isinstance(loop.described, Inputs)
    assert (loop.described.datasets(), loop.described.changed()) == ([], [])


class Reader(nn.Module):  # type: ignore[misc,name-defined]
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(10, 3)

    def forward(self, ids: Any, mask: Any = None, extra: Any = None, scale: float = 1.0) -> Any:
        found = self.embedding(ids) * scale
        return found if mask is None else found * mask[..., None]


def test_inputs_are_named_as_forward_names_them_with_what_varies_open() -> None:
    model = Reader()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with watching(Inputs) as watch:
        for length in (6, 6, 4):
            ids = torch.zeros(2, length, dtype=torch.int64)
            model(ids, mask=ids == 0, extra={"image": [torch.zeros(2, 3, 9)]}, scale=2.0).sum().backward()
            optimizer.step()
    assert inputs(only(watch)) == [
        ("ids", "int64", (None,)),
        ("mask", "bool", (None,)),
        ("extra.image.0", "float32", (3, 9)),
    ]


@pytest.mark.parametrize(
    ("schedule", "name", "lr"),
    [
        (lambda o: CosineAnnealingLR(o, 5), "CosineAnnealingLR", 0.1),
        (lambda o: LinearLR(o, 0.5), "LinearLR", 0.1),
        (lambda o: OneCycleLR(o, 0.5, total_steps=9, cycle_momentum=False), "OneCycleLR", 0.02),
        (lambda o: SequentialLR(o, [LinearLR(o), CosineAnnealingLR(o, 5)], [2]), "SequentialLR", 0.1),
    ],
    ids=["cosine", "linear", "one cycle", "sequential"],
)
@pytest.mark.filterwarnings("ignore:The epoch parameter")
def test_a_scheduler_is_named_and_the_rate_is_where_it_began(schedule: Any, name: str, lr: float) -> None:
    with watching(Inputs) as watch:
        train(net(), schedule=schedule)
    loop = only(watch)
    assert loop.params["scheduler"] == name
    assert loop.params["optimizer__lr"] == pytest.approx(lr)


def test_groups_of_parameters_tell_what_differs_from_the_defaults() -> None:
    model = net()
    groups = [{"params": model[0].parameters(), "lr": 0.5}, {"params": model[2].parameters()}]
    found = optimizer_parameters(torch.optim.SGD(groups, lr=0.1, momentum=0.9))
    assert found["optimizer__lr"] == 0.1
    assert {name for name in found if "group" in name} == {"optimizer__group0__lr"}
    one = optimizer_parameters(torch.optim.SGD([{"params": model.parameters(), "lr": 0.5}], lr=0.1))
    assert one["optimizer__lr"] == 0.5


def test_two_optimizers_of_one_model_have_both_their_parameters() -> None:
    model = net()
    first, second = torch.optim.SGD(model[0].parameters(), lr=0.1), torch.optim.Adam(model[2].parameters(), lr=0.2)
    with watching(Inputs) as watch:
        for _ in range(2):
            model(torch.ones(5, 8)).sum().backward()
            first.step()
            second.step()
    params = only(watch).params
    assert (params["optimizer"], params["optimizer__lr"]) == ("SGD", 0.1)
    assert (params["optimizer_2"], params["optimizer_2__lr"]) == ("Adam", 0.2)


def test_training_again_with_the_like_optimizer_is_the_same_loop() -> None:
    model = net()
    with watching(Inputs) as watch:
        train(model)
        train(model)
    loop = only(watch)
    assert loop.steps == 6
    assert not [name for name in loop.params if "_2" in name]


# which module is the model


def test_two_networks_are_two_candidates() -> None:
    generator, critic = nn.Linear(4, 8), nn.Sequential(nn.Linear(8, 1))
    one, other = torch.optim.SGD(generator.parameters(), lr=0.1), torch.optim.SGD(critic.parameters(), lr=0.2)
    with watching(Inputs) as watch:
        for _ in range(2):
            critic(generator(torch.ones(5, 4))).mean().backward()
            one.step()
            other.step()
    assert {fit.model: fit.params["optimizer__lr"] for fit in watch.fits} == {generator: 0.1, critic: 0.2}
    with pytest.raises(Ambiguous, match=r"2 models .*Linear\(.*; Sequential\(.*model="):
        watch.candidate()


@pytest.mark.parametrize(
    "wrap",
    [
        lambda model: torch.compile(model, backend="eager", fullgraph=True),
        nn.DataParallel,
        lambda model: torch.compile(nn.DataParallel(model), backend="eager"),
    ],
    ids=["compiled", "parallel", "both"],
)
def test_a_wrapped_model_is_the_module_inside(wrap: Callable[[Any], Any]) -> None:
    model = net()
    with watching(Inputs) as watch:
        train(wrap(model))
    loop = only(watch)
    assert (loop.model is model, loop.steps) == (True, 3)
    assert inputs(loop) == [("input", "float32", (8,))]


@pytest.mark.filterwarnings("ignore")
def test_a_model_set_up_by_fabric_is_the_module_inside() -> None:
    fabric = pytest.importorskip("lightning.fabric").Fabric(accelerator="cpu", devices=1)
    model = net()
    wrapped, optimizer = fabric.setup(model, torch.optim.SGD(model.parameters(), lr=0.1))
    with watching(Inputs) as watch:
        for _ in range(2):
            fabric.backward(wrapped(torch.ones(5, 8)).sum())
            optimizer.step()
    loop = only(watch)
    assert (loop.model is model, loop.steps, loop.params["optimizer__lr"]) == (True, 2, 0.1)


def test_a_model_prepared_by_accelerate_is_seen() -> None:
    accelerator = pytest.importorskip("accelerate").Accelerator(cpu=True)
    model = net()
    prepared, optimizer = accelerator.prepare(model, torch.optim.SGD(model.parameters(), lr=0.1))
    with watching(Inputs) as watch:
        accelerator.backward(prepared(torch.ones(5, 8)).sum())
        optimizer.step()
    assert only(watch).model is model


class Holder(nn.Module):  # type: ignore[misc,name-defined]
    """Holds a model, and is never called itself."""

    def __init__(self, inner: Any) -> None:
        super().__init__()
        self.inner = inner


def test_a_model_compiled_in_place_is_found_without_its_inputs() -> None:
    model = net()
    holder = Holder(model)
    model.compile(backend="eager", fullgraph=True)
    with watching(Inputs) as watch:
        train(model)
    loop = only(watch)
    assert (loop.model is model, loop.described, loop.steps) == (True, None, 3)
    assert holder.inner is model


def test_a_forward_that_is_called_by_itself_is_of_the_modules_that_it_calls() -> None:
    class Direct(nn.Module):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(8))

        def forward(self, x: Any) -> Any:
            return x * self.weight

    model = Direct()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with watching(Inputs) as watch:
        model.forward(torch.ones(5, 8)).sum().backward()
        optimizer.step()
    assert only(watch).model is model


def test_evaluation_is_not_training() -> None:
    model, other = net(), net()
    with watching(Inputs) as watch:
        with torch.no_grad():
            nn.Sequential(model)(torch.ones(5, 8))
        other(torch.ones(5, 8))
        train(model)
    assert only(watch).model is model


def test_a_wrapper_that_evaluates_is_not_the_model() -> None:
    model = net()
    evaluated = nn.Sequential(model).eval()
    with watching(Inputs) as watch:
        model.eval()
        evaluated(torch.ones(5, 8))
        model.train()
        train(model)
    assert only(watch).model is model


def test_a_model_that_was_left_in_evaluation_mode_is_seen_training() -> None:
    model = net().eval()
    with watching(Inputs) as watch:
        train(model)
    assert only(watch).model is model


def test_a_loss_with_no_parameters_is_no_candidate() -> None:
    model, optimizer = net(), None
    with watching(Inputs) as watch:
        optimizer = torch.optim.LBFGS(model.parameters())

        def closure() -> Any:
            optimizer.zero_grad()
            loss = nn.MSELoss()(model(torch.ones(5, 8)), torch.zeros(5, 1))
            loss.backward()
            return loss

        optimizer.step(closure)
    assert only(watch).steps == 1


def test_a_failed_forward_leaves_the_next_one_seen() -> None:
    model = net()
    with watching(Inputs) as watch:
        with pytest.raises(RuntimeError, match="shape"):
            model(torch.ones(5, 3))
        train(model)
    assert inputs(only(watch)) == [("input", "float32", (8,))]


def test_a_training_inside_an_estimators_fit_is_a_part_of_it() -> None:
    base = pytest.importorskip("sklearn.base")

    class Wrapped(base.BaseEstimator):  # type: ignore[misc,name-defined]
        def fit(self, X: Any) -> Any:  # noqa: N803
            self.net_ = net()
            train(self.net_)
            return self

    with watching(Inputs) as watch:
        Wrapped().fit(torch.ones(4, 2).numpy())
    assert [type(fit.model).__name__ for fit in watch.fits] == ["Wrapped"]


# which track a training belongs to


def test_the_innermost_track_has_the_training() -> None:
    first, second = net(), net()
    with watching(Inputs) as outer:
        train(first)
        with watching(Inputs) as inner:
            train(second)
        train(first)
    assert (only(outer).model is first, only(inner).model is second) == (True, True)
    assert (only(outer).steps, only(inner).steps) == (6, 3)


def test_threads_with_tracks_of_their_own_do_not_mix() -> None:
    def trained(model: Any) -> list[Any]:
        with watching(Inputs) as watch:
            train(model, steps=10)
            return [fit.model for fit in watch.fits]

    models = [net() for _ in range(3)]
    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(trained, models)) == [[model] for model in models]


def test_a_thread_with_the_context_belongs_to_the_track_and_one_without_is_named() -> None:
    model = net()
    with watching(Inputs) as watch:
        for target, args in ((contextvars.copy_context().run, (train, model)), (train, (net(),))):
            thread = threading.Thread(target=target, args=args, name="trainer")
            thread.start()
            thread.join()
    assert only(watch).model is model
    assert watch.elsewhere == {"SGD.step in thread trainer"}


def test_a_loop_over_bare_tensors_is_no_fit() -> None:
    weight = torch.ones(3, requires_grad=True)
    with watching(Inputs) as watch:
        weight.sum().backward()
        torch.optim.SGD([weight], lr=0.1).step()
    assert watch.failed == []
    with pytest.raises(UsageError, match="no fit was seen"):
        watch.candidate()


# nothing is changed


def hooks() -> list[dict[Any, Any]]:
    everything = [value for name, value in vars(modules).items() if name.startswith("_global") and isinstance(value, dict)]
    return [dict(one) for one in [*everything, OPTIMIZERS._global_optimizer_post_hooks]]


def test_everything_is_as_it_was_after_the_block() -> None:
    plain, filters = hooks(), list(warnings.filters)
    assert len(plain) > 3
    with pytest.raises(KeyboardInterrupt), watching(Inputs):
        train(net())
        assert hooks() != plain
        raise KeyboardInterrupt
    assert hooks() == plain
    assert warnings.filters == filters


def test_the_training_gives_the_same_weights_and_the_model_the_same_bytes() -> None:
    def trained() -> bytes:
        torch.manual_seed(0)
        model = net()
        train(model, optimizer=torch.optim.Adam(model.parameters()))
        file = io.BytesIO()
        torch.save(model, file)
        return file.getvalue()

    plain = trained()
    with watching(Inputs):
        assert trained() == plain
    assert trained() == plain


def test_nothing_of_the_training_is_kept_but_the_model() -> None:
    model, batch = net(), torch.ones(5, 8)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    unused = net()
    gone = [weakref.ref(one) for one in (batch, optimizer, unused)]
    with watching(Inputs) as watch:
        model(batch).sum().backward()
        unused(batch)
        optimizer.step()
        del batch, optimizer, unused
        gc.collect()
        assert [one() for one in gone] == [None, None, None]
        assert only(watch).model is model


def test_a_module_in_the_place_of_one_that_is_gone_is_seen() -> None:
    with watching(Inputs) as watch:
        for _ in range(20):
            model = net()
            train(model, steps=1)
            watch.fits.clear()
        train(model := net())
    assert only(watch).model is model


LATE = """
from ifpdb.capture.fit.estimator import watching
from ifpdb.capture.fit.inputs import Inputs
with watching(Inputs) as watch:
    import torch
    model = torch.nn.Linear(2, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model(torch.ones(3, 2)).sum().backward()
    optimizer.step()
    assert watch.candidate().model is model
import torch.nn.modules.module as modules
assert not modules._global_forward_hooks
"""


def test_torch_that_is_imported_inside_is_seen() -> None:
    subprocess.run([sys.executable, "-c", LATE], check=True, timeout=300)
