"""Trainers of deep learning: Keras's Model.fit, Lightning's Trainer.fit, transformers' Trainer.train.

The data is what the trainer was given where that is arrays, tensors, a Hugging Face dataset, or a torch dataset that gives the
same items whenever it is read and is read whole within SLOW seconds. A generator, a stream, a tf.data pipeline, a dataset that
augments, and what a LightningDataModule makes while it trains are problems that say so: run.log_dataset names what is
behind them. A torch dataset of two tensors is X and y; any other is one table of all its items' parts.

Of transformers' arguments, those that differ from their defaults are parameters, without what is only about reports, places
and tokens. Keras is Keras 3; loops of `train_on_batch` go unseen.
"""

from __future__ import annotations

import dataclasses
import os
import re
import sys
import time
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from typing import Any

from ...digest import JSON, canonical
from ..record import randomness
from .hyperparameters import arguments, parameters, to_json
from .patching import Call, Target, Training, names_of
from .torchfit import numbered, optimizer_parameters, unwrapped

SLOW = 10.0
"""A dataset that would take longer to read, in seconds, is not read behind its user's back."""

_ADVICE = "name the data: run.log_dataset(dataset), or ifp.track(…, data=dataset)"

# Keras


def _keras(call: Call) -> Training:
    given = dict(call.given)
    data, y, weight = (given.pop(name, None) for name in ("x", "y", "sample_weight"))
    given.pop("verbose", None)
    params = _compiled(call.self) | {"epochs": 1} | arguments(given, prefix="") | _seed(_keras_seed())
    if given.get("class_weight"):
        params["class_weight"] = to_json(given["class_weight"])
    training = Training(None, params=params)
    if hasattr(data, "dataset") and hasattr(data, "batch_sampler"):
        _of_dataset(training, data.dataset)
    elif _several(data) or (hasattr(data, "shape") and hasattr(data, "dtype")) or hasattr(data, "columns"):
        training.X, training.y, training.sample_weight = map(_joined, (data, y, weight))
    else:
        training.problem = f"{type(data).__name__} is used up by reading it, or gives other batches each time: {_ADVICE}"
    return training


def _compiled(model: Any) -> dict[str, JSON]:
    """What `compile` was given: the optimizer, the loss and the metrics."""
    config = model.get_compile_config() or {}
    found: dict[str, Any] = {}
    for name in ("optimizer", "loss", "loss_weights"):
        if config.get(name) is not None:
            found |= _serialized(name, config[name])
    if config.get("metrics"):
        found["metrics"] = _short(config["metrics"])
    return parameters(found)


LAMBDA = "__lambda__"
"""The class of a lambda to Keras, which would keep its bytecode."""


def _serialized(name: str, value: Any) -> dict[str, Any]:
    """An object as Keras serializes it, flat: its class, and each value of its configuration under `name__`."""
    if not isinstance(value, Mapping) or "class_name" not in value:
        return {name: float(f"{value:.7g}") if type(value) is float else value}  # they were float32
    found = {name: _short(value)}
    config = None if value["class_name"] == LAMBDA else value.get("config")
    for key, inner in config.items() if isinstance(config, Mapping) else ():
        if key != "name":  # numbered as they come: adam, adam_1, …
            found |= _serialized(f"{name}__{key}", inner)
    return found


def _short(value: Any) -> Any:
    """Names in the place of serialized objects; a function's is its configuration, a lambda's would be its code."""
    if isinstance(value, list | tuple):
        return [_short(inner) for inner in value]
    if not isinstance(value, Mapping):
        return value
    if "class_name" not in value:
        return {key: _short(inner) for key, inner in value.items()}
    if value["class_name"] == LAMBDA:
        return "lambda"
    return value["config"] if isinstance(value.get("config"), str) else value["class_name"]


def _keras_seed() -> Any:
    """The seed of keras.utils.set_random_seed."""
    return getattr(sys.modules.get("keras.src.utils.rng_utils"), "get_random_seed", lambda: None)()


def _several(data: Any) -> bool:
    """Whether these are the arrays of several inputs."""
    parts = list(data.values()) if isinstance(data, dict) else data if isinstance(data, list | tuple) else []
    return bool(parts) and all(hasattr(part, "shape") and part.shape for part in parts)


def _joined(data: Any) -> Any:
    """The arrays of several inputs as one structured array, by name; anything else as it is."""
    if not _several(data):
        return data
    import numpy as np

    named = data if isinstance(data, dict) else {f"x{position}": part for position, part in enumerate(data)}
    arrays = {str(name): np.asarray(part.detach().cpu() if hasattr(part, "detach") else part) for name, part in named.items()}
    rows = len(next(iter(arrays.values())))
    table = np.empty(rows, [(name, part.dtype, part.shape[1:]) for name, part in arrays.items()])
    for name, part in arrays.items():
        table[name] = part
    return table


# Lightning


def _lightning(call: Call) -> Training:
    trainer, model, given = call.self, call.given["model"], call.given
    settings = {f"trainer__{name}": getattr(trainer, name, None) for name in LIGHTNING}
    settings = {name: value for name, value in settings.items() if value not in (None, -1)}
    params = parameters(dict(getattr(model, "hparams", None) or {})) | parameters(settings)
    training = Training(None, params=params | _seed(os.environ.get("PL_GLOBAL_SEED")))
    loader: Any = given.get("train_dataloaders")
    if hasattr(loader, "dataset"):
        _of_dataset(training, loader.dataset)
    else:
        source = loader if given.get("datamodule") is None else given["datamodule"]
        kind = "its own train_dataloader" if source is None else f"{type(source).__name__}"
        training.problem = f"the model was trained on what {kind} makes while it trains: {_ADVICE}"
    return training


LIGHTNING = ("max_epochs", "max_steps", "precision", "accumulate_grad_batches", "gradient_clip_val", "gradient_clip_algorithm")
"""What a Lightning Trainer was told that changes the model."""


def _lightning_model(call: Call, _result: object) -> Any:
    return unwrapped(call.given["model"])


def _lightning_found(call: Call, _result: object) -> dict[str, JSON]:
    """The optimizers that the model made for itself, and their schedulers."""
    found: dict[str, JSON] = {}
    for number, optimizer in enumerate(call.self.optimizers, start=1):
        found |= numbered(optimizer_parameters(optimizer), number)
    for number, config in enumerate(call.self.lr_scheduler_configs, start=1):
        found |= numbered({"scheduler": type(config.scheduler).__qualname__}, number)
    return found


# transformers


def _transformers(call: Call) -> Training:
    trainer = call.self
    training = Training(None, params=_told(trainer.args))
    labels = {*(trainer.args.label_names or ()), "label", "labels", "label_ids"}
    known = trainer.args.remove_unused_columns and trainer.model is not None
    inputs = set(names_of(trainer.model.forward)) if known else set()
    if trainer.train_dataset is None:
        training.problem = f"the Trainer has no train_dataset: {_ADVICE}"
    else:
        _of_dataset(training, trainer.train_dataset, labels=labels, inputs=inputs)
    return training


def _transformers_model(call: Call, _result: object) -> Any:
    return unwrapped(call.self.model)


ALWAYS = ("learning_rate", "num_train_epochs", "per_device_train_batch_size", "optim", "lr_scheduler_type", "seed")
"""Arguments that are parameters even at their defaults, which differ from release to release."""

HOUSEKEEPING = re.compile(
    "accelerator_config|dataloader_|ddp_|debug|deepspeed|disable_tqdm|do_|eval_|fsdp|hub_|ignore_data_skip|include_|load_best_|"
    "local_rank|log_|logging_|metric_for_|output_dir|overwrite_|parallelism_|per_device_eval_|prediction_loss_only|project|"
    "push_to_|ray_|remove_unused_|report_to|restore_callback_|resume_from_|run_name|save_|skip_memory_|tpu_|trackio_|use_cpu"
)
"""How the names begin of arguments that say where and how to report, keep, evaluate and spread, not what to learn."""

SECRETS = ("token", "secret", "password", "credential", "api_key")


def _told(args: Any) -> dict[str, JSON]:
    """The arguments that differ from their defaults."""
    found: dict[str, JSON] = {}
    for one in dataclasses.fields(args):
        if not one.init or HOUSEKEEPING.match(one.name) or any(word in one.name for word in SECRETS):
            continue
        default = one.default_factory() if one.default_factory is not dataclasses.MISSING else one.default
        value = getattr(args, one.name)
        if one.name not in ALWAYS and (value == default or not (value or default)):
            continue
        plain = to_json(value)
        if not any(sign in canonical(plain) for sign in (b"/", b"\\\\")):  # no paths
            found |= parameters({one.name: plain})
    return found


# data that a trainer holds


def _of_dataset(
    training: Training, dataset: Any, *, labels: AbstractSet[str] = frozenset(), inputs: AbstractSet[str] = frozenset()
) -> None:
    """Give a training its data, or its problem, from a torch or Hugging Face dataset."""
    tensors = _tensors(dataset)
    if tensors is not None and len(tensors) <= 2:
        training.X, training.y = [*tensors, None][:2]
    elif type(dataset).__module__.partition(".")[0] == "datasets" and hasattr(dataset, "column_names"):
        _of_hugging_face(training, dataset, labels, inputs)
    elif tensors is not None:
        training.X = dataset
    else:
        training.problem = _unread(dataset)
        training.X = dataset if training.problem is None else None


def _tensors(dataset: Any) -> list[Any] | None:
    """The tensors of a TensorDataset, or of a part of one as random_split makes it."""
    if hasattr(dataset, "tensors"):
        return list(dataset.tensors)
    if hasattr(dataset, "indices") and (whole := _tensors(getattr(dataset, "dataset", None))) is not None:
        return [tensor[list(dataset.indices)] for tensor in whole]
    return None


def _of_hugging_face(training: Training, dataset: Any, labels: AbstractSet[str], inputs: AbstractSet[str]) -> None:
    """Columns that the model takes are X, and the labels y; all the others too where it takes none by name."""
    if not hasattr(dataset, "select_columns") or not hasattr(dataset, "__len__"):
        training.problem = f"{type(dataset).__name__} is read as a stream: {_ADVICE}"
        return
    targets = [name for name in dataset.column_names if name in labels]
    taken = [name for name in dataset.column_names if name in inputs - labels]
    others = taken or [name for name in dataset.column_names if name not in targets]
    training.X = dataset.select_columns(others)
    training.y = dataset.select_columns(targets) if targets else None


def _unread(dataset: Any) -> str | None:
    """Why a dataset that makes its items in Python should not be read whole; None when it may be."""
    kind = type(dataset).__name__
    if not hasattr(dataset, "__len__") or not hasattr(dataset, "__getitem__"):
        return f"{kind} is read as a stream: {_ADVICE}"
    before = randomness.observe()
    try:
        seconds = min(_seconds(lambda: dataset[0]), _seconds(lambda: dataset[len(dataset) - 1]))
    except Exception as error:
        return f"{kind} can't be read by number ({type(error).__name__}: {error}): {_ADVICE}"
    if randomness.observe() != before:
        randomness.restore(before)
        return f"{kind} draws random numbers when it is read (augmentation?): {_ADVICE}"
    if seconds * len(dataset) > SLOW:
        return f"{kind} of {len(dataset)} items would take {seconds * len(dataset):.0f} s to read: {_ADVICE}"
    return None


def _seconds(read: Callable[[], object]) -> float:
    start = time.perf_counter()
    read()
    return time.perf_counter() - start


def _seed(seed: Any) -> dict[str, JSON]:
    return {"seed": int(seed)} if seed is not None and str(seed).isdecimal() else {}


TARGETS: tuple[Target, ...] = (
    Target("keras.src.models.model", "Model", ("fit",), _keras),
    Target("lightning.pytorch.trainer.trainer", "Trainer", ("fit",), _lightning, _lightning_model, _lightning_found),
    Target("pytorch_lightning.trainer.trainer", "Trainer", ("fit",), _lightning, _lightning_model, _lightning_found),
    Target("transformers.trainer", "Trainer", ("train",), _transformers, _transformers_model),
)
