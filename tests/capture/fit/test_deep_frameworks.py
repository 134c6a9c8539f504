"""Trainings captured from Keras, Lightning and transformers, with tiny local models."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

os.environ.setdefault("KERAS_BACKEND", "torch")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

np = pytest.importorskip("numpy")
torch = pytest.importorskip("torch")

from ifpdb.capture.data.dataset import hash_data  # noqa: E402
from ifpdb.capture.fit import deep, patching  # noqa: E402
from ifpdb.capture.fit.estimator import Fit, watching  # noqa: E402
from ifpdb.capture.fit.inputs import Inputs  # noqa: E402

pytestmark = [pytest.mark.frameworks, pytest.mark.filterwarnings("ignore")]  # theirs, which are many

X = np.random.default_rng(0).normal(size=(32, 4)).astype("float32")
Y = X[:, :1] * 2


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """Seeds and generators as they were before."""
    states = torch.get_rng_state(), np.random.get_state(), random.getstate()
    yield
    torch.set_rng_state(states[0])
    np.random.set_state(states[1])
    random.setstate(states[2])


def digests(fit: Fit) -> dict[str, str | None]:
    assert isinstance(fit.described, Inputs), fit.problem
    return {dataset.role: dataset.digest for dataset in fit.described.datasets()}


# Keras


@pytest.fixture
def keras() -> Any:
    return pytest.importorskip("keras")


def dense(keras: Any, **compiled: Any) -> Any:
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3), keras.layers.Dense(1)])
    model.compile(**({"optimizer": "sgd", "loss": "mse"} | compiled))
    return model


def test_a_keras_fit_is_captured_with_its_data_and_parameters(keras: Any) -> None:
    keras.utils.set_random_seed(3)
    model = dense(keras, optimizer=keras.optimizers.Adam(0.01), metrics=["mae"])
    with watching(Inputs) as watch:
        model.fit(X, Y, epochs=2, batch_size=8, verbose=0, class_weight={0: 1.0})
    fit = watch.candidate()
    assert fit.model is model
    assert digests(fit) == {"train": hash_data(X), "target": hash_data(Y)}
    wanted = {
        "optimizer": "Adam",
        "optimizer__learning_rate": 0.01,
        "optimizer__beta_1": 0.9,
        "loss": "mse",
        "metrics": ["mae"],
        "epochs": 2,
        "batch_size": 8,
        "class_weight": {"0": 1},
        "seed": 3,
    }
    assert {name: fit.params.get(name) for name in wanted} == wanted
    assert "verbose" not in fit.params
    assert fit.seed == 3


def test_keras_objects_are_told_by_class_and_configuration(keras: Any) -> None:
    def own_loss(y_true: Any, y_pred: Any) -> Any:
        return keras.ops.mean(keras.ops.abs(y_true - y_pred))

    schedule = keras.optimizers.schedules.CosineDecay(0.1, 100)
    model = dense(keras, optimizer=keras.optimizers.SGD(schedule), loss=own_loss, metrics=[keras.metrics.MeanAbsoluteError()])
    with watching(Inputs) as watch:
        model.fit(X, Y, verbose=0)
    params = watch.candidate().params
    assert params["optimizer__learning_rate"] == "CosineDecay"
    assert params["optimizer__learning_rate__decay_steps"] == 100
    assert params["loss"] == "own_loss"
    assert params["metrics"] == ["MeanAbsoluteError"]
    assert "optimizer__name" not in params


def test_a_lambda_is_told_without_its_bytecode(keras: Any) -> None:
    model = dense(keras, loss=lambda y, p: keras.ops.mean((y - p) ** 2), metrics=[lambda y, p: keras.ops.mean(p)])
    with watching(Inputs) as watch:
        model.fit(X, Y, verbose=0)
    params = watch.candidate().params
    assert {name: value for name, value in params.items() if name.startswith(("loss", "metrics"))} == {
        "loss": "lambda",
        "metrics": ["lambda"],
    }


@pytest.mark.parametrize("several", [list, dict])
def test_the_arrays_of_several_inputs_are_one_table(keras: Any, several: type) -> None:
    left, right = keras.Input((4,), name="left"), keras.Input((1,), name="right")
    output = keras.layers.Dense(1)(keras.layers.Concatenate()([left, right]))
    model = keras.Model({"left": left, "right": right} if several is dict else [left, right], output)
    model.compile(optimizer="sgd", loss="mse")
    with watching(Inputs) as watch:
        model.fit({"left": X, "right": Y} if several is dict else [X, Y], Y, verbose=0)
    fit = watch.candidate()
    assert isinstance(fit.described, Inputs)
    schema = fit.described.schema()
    assert schema is not None
    found = [(one.name, one.dtype, one.shape) for one in schema.features]
    names = ("left", "right") if several is dict else ("x0", "x1")
    assert found == [(names[0], "float32", (4,)), (names[1], "float32", (1,))]


def test_a_keras_generator_is_a_problem_that_says_so_and_is_not_used_up(keras: Any) -> None:
    model = dense(keras)
    batches = ((X, Y) for _ in range(2))
    with watching(Inputs) as watch:
        history = model.fit(batches, steps_per_epoch=2, verbose=0)
    fit = watch.candidate()
    assert (fit.model, fit.described) == (model, None)
    assert fit.problem == (
        "generator is used up by reading it, or gives other batches each time: "
        "name the data: run.log_dataset(dataset), or ifp.track(…, data=dataset)"
    )
    assert len(history.history["loss"]) == 1


def test_a_loader_given_to_keras_is_told_by_its_dataset(keras: Any) -> None:
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.tensor(X), torch.tensor(Y)), batch_size=8)
    with watching(Inputs) as watch:
        dense(keras).fit(loader, verbose=0)
    assert digests(watch.candidate()) == {"train": hash_data(X), "target": hash_data(Y)}


def test_a_keras_model_that_is_not_compiled_fails_as_without_us(keras: Any) -> None:
    model = keras.Sequential([keras.layers.Dense(1)])
    with watching(Inputs) as watch, pytest.raises(ValueError, match="compile"):
        model.fit(X, Y, verbose=0)
    assert watch.fits == []
    assert [called for called, _ in watch.failed] == ["Sequential.fit"]


# Lightning


@pytest.fixture(params=["lightning.pytorch", "pytorch_lightning"])
def pl(request: pytest.FixtureRequest) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip(request.param)


def linear(pl: Any) -> Any:
    class Linear(pl.LightningModule):  # type: ignore[misc]
        def __init__(self, lr: float = 0.1, width: int = 4) -> None:
            super().__init__()
            self.save_hyperparameters()
            self.net = torch.nn.Linear(width, 1)

        def forward(self, x: Any) -> Any:
            return self.net(x)

        def training_step(self, batch: Any, _index: int) -> Any:
            return ((self(batch[0]) - batch[1]) ** 2).mean()

        def configure_optimizers(self) -> Any:
            optimizer = torch.optim.SGD(self.parameters(), lr=self.hparams.lr)
            return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, 1)]

    return Linear()


def trainer(pl: Any, **settings: Any) -> Any:
    quiet = ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary")
    return pl.Trainer(max_epochs=2, accelerator="cpu", devices=1, **dict.fromkeys(quiet, False), **settings)


def loader(dataset: Any) -> Any:
    return torch.utils.data.DataLoader(dataset, batch_size=8, shuffle=True)


def tensors() -> Any:
    return torch.utils.data.TensorDataset(torch.tensor(X), torch.tensor(Y))


def test_a_lightning_fit_is_captured_with_its_data_and_parameters(pl: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PL_GLOBAL_SEED", "5")
    model = linear(pl)
    with watching(Inputs) as watch:
        trainer(pl, gradient_clip_val=0.5).fit(model, loader(tensors()))
    fit = watch.candidate()
    assert (fit.model is model, fit.method, fit.seed) == (True, "fit", 5)
    assert digests(fit) == {"train": hash_data(X), "target": hash_data(Y)}
    wanted = {
        "lr": 0.1,
        "width": 4,
        "trainer__max_epochs": 2,
        "trainer__gradient_clip_val": 0.5,
        "optimizer": "SGD",
        "optimizer__lr": 0.1,  # where the scheduler began, not where it ended
        "scheduler": "StepLR",
    }
    assert {name: fit.params.get(name) for name in wanted} == wanted


class Items(torch.utils.data.Dataset):  # type: ignore[misc,name-defined]
    """Rows made in Python, as most people's datasets are."""

    def __len__(self) -> int:
        return len(X)

    def __getitem__(self, row: int) -> Any:
        return X[row], Y[row]


class Augmented(Items):
    def __getitem__(self, row: int) -> Any:
        return X[row] + np.float32(np.random.random()), Y[row]


class Stream(torch.utils.data.IterableDataset):  # type: ignore[misc,name-defined]
    def __iter__(self) -> Iterator[Any]:
        return iter(zip(X, Y, strict=True))


def test_a_dataset_of_items_is_described_as_one_table() -> None:
    pl = pytest.importorskip("lightning.pytorch")
    with watching(Inputs) as watch:
        trainer(pl).fit(linear(pl), loader(Items()))
    assert digests(watch.candidate()) == {"train": hash_data(Items())}


@pytest.mark.parametrize(
    ("dataset", "problem"),
    [
        (Augmented(), "Augmented draws random numbers when it is read"),
        (Stream(), "Stream is read as a stream"),
    ],
    ids=["augmented", "stream"],
)
def test_what_cannot_be_read_twice_is_a_problem_and_the_training_is_the_same(dataset: Any, problem: str) -> None:
    pl = pytest.importorskip("lightning.pytorch")

    def train() -> Any:
        torch.manual_seed(1)
        np.random.seed(1)
        random.seed(1)
        model = linear(pl)
        trainer(pl).fit(model, torch.utils.data.DataLoader(dataset, batch_size=8))
        return model.net.weight.detach().clone()

    plain = train()
    with watching(Inputs) as watch:
        assert torch.equal(train(), plain)
    fit = watch.candidate()
    assert fit.described is None
    assert fit.problem is not None
    assert fit.problem.startswith(problem)
    assert fit.problem.endswith("name the data: run.log_dataset(dataset), or ifp.track(…, data=dataset)")


def test_a_dataset_that_takes_long_to_read_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    pl = pytest.importorskip("lightning.pytorch")
    monkeypatch.setattr(deep, "SLOW", 0.0)
    with watching(Inputs) as watch:
        trainer(pl).fit(linear(pl), loader(Items()))
    assert "Items of 32 items would take 0 s to read" in str(watch.candidate().problem)


def test_a_part_of_tensors_is_the_rows_in_it() -> None:
    pl = pytest.importorskip("lightning.pytorch")
    part = torch.utils.data.Subset(tensors(), [3, 1, 2])
    with watching(Inputs) as watch:
        trainer(pl).fit(linear(pl), loader(part))
    assert digests(watch.candidate()) == {"train": hash_data(X[[3, 1, 2]]), "target": hash_data(Y[[3, 1, 2]])}


def test_the_data_of_a_datamodule_is_a_problem() -> None:
    pl = pytest.importorskip("lightning.pytorch")

    class Module(pl.LightningDataModule):  # type: ignore[misc]
        def train_dataloader(self) -> Any:
            return loader(tensors())

    with watching(Inputs) as watch:
        trainer(pl).fit(linear(pl), datamodule=Module())
    assert str(watch.candidate().problem).startswith("the model was trained on what Module makes while it trains: name")


# transformers


@pytest.fixture
def transformers() -> Any:
    pytest.importorskip("accelerate")
    return pytest.importorskip("transformers")


def bert(transformers: Any) -> Any:
    config = transformers.BertConfig(
        vocab_size=20, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8, max_position_embeddings=8
    )
    return transformers.BertForSequenceClassification(config)


def arguments(transformers: Any, folder: Path, **more: Any) -> Any:
    given = {"max_steps": 2, "use_cpu": True, "report_to": [], "save_strategy": "no", "disable_tqdm": True} | more
    return transformers.TrainingArguments(output_dir=str(folder / "out"), **given)


def tokens(*, text: bool = False) -> Any:
    datasets = pytest.importorskip("datasets")
    ids = np.random.default_rng(0).integers(0, 20, (16, 6)).tolist()
    columns = {"input_ids": ids, "label": [0, 1] * 8} | ({"text": ["words"] * 16} if text else {})
    return datasets.Dataset.from_dict(columns)


def test_a_transformers_training_is_captured_with_its_data_and_parameters(transformers: Any, tmp_path: Path) -> None:
    model, data = bert(transformers), tokens(text=True)
    args = arguments(transformers, tmp_path, learning_rate=1e-3, weight_decay=0.1, seed=9, hub_token="hf_planted")
    with watching(Inputs) as watch:
        transformers.Trainer(model, args, train_dataset=data).train()
    fit = watch.candidate()
    assert (fit.model is model, fit.method, fit.seed) == (True, "train", 9)
    ids, label = data.select_columns(["input_ids"]), data.select_columns(["label"])
    assert digests(fit) == {"train": hash_data(ids), "target": hash_data(label)}
    wanted = {"learning_rate": 1e-3, "weight_decay": 0.1, "max_steps": 2, "seed": 9, "per_device_train_batch_size": 8}
    assert {name: fit.params.get(name) for name in wanted} == wanted


def test_of_transformers_arguments_only_what_was_learned_with_is_kept(transformers: Any, tmp_path: Path) -> None:
    args = arguments(
        transformers,
        tmp_path,
        hub_token="hf_planted",
        hub_model_id="me/secret-model",
        run_name="run",
        lr_scheduler_type="cosine_with_min_lr",
        lr_scheduler_kwargs={"min_lr": 1e-6},
        optim_args=str(tmp_path / "optim.json"),
    )
    params = deep._told(args)
    assert params == {
        "max_steps": 2,
        "learning_rate": 5e-05,
        "num_train_epochs": 3,
        "per_device_train_batch_size": 8,
        "optim": params["optim"],
        "lr_scheduler_type": "cosine_with_min_lr",
        "lr_scheduler_kwargs": {"min_lr": 1e-6},
        "seed": 42,
    }


def test_default_arguments_of_transformers_are_few(transformers: Any, tmp_path: Path) -> None:
    assert set(deep._told(transformers.TrainingArguments(output_dir=str(tmp_path)))) == set(deep.ALWAYS)


# all of them

LATE = """
import os, sys, warnings
warnings.simplefilter("ignore")
from ifpdb.capture.fit.estimator import watching
from ifpdb.capture.fit.inputs import Inputs
from ifpdb.capture.fit.patching import original_of
with watching(Inputs) as watch:
    import keras, numpy as np
    X = np.ones((8, 2), "float32")
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile(optimizer="sgd", loss="mse")
    assert original_of(keras.Model.fit) is not keras.Model.fit
    model.fit(X, X[:, :1], verbose=0)
    assert watch.candidate().model is model
assert original_of(keras.Model.fit) is keras.Model.fit
import torch.nn.modules.module as modules
assert not modules._global_forward_hooks and not modules._global_forward_hooks_with_kwargs
"""


def test_keras_that_is_imported_inside_is_seen_and_restored(keras: Any) -> None:
    subprocess.run([sys.executable, "-c", LATE], check=True, timeout=300)


def test_trainers_are_as_they_were_after_the_block(keras: Any, pl: Any) -> None:
    before = keras.Model.fit, pl.Trainer.fit
    with watching(Inputs):
        assert keras.Model.fit is not before[0]
        assert pl.Trainer.fit is not before[1]
    assert (keras.Model.fit, pl.Trainer.fit) == before
    assert patching.original_of(keras.Model.fit) is keras.Model.fit
