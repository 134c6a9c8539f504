"""Registration: the four parts decide which version it is; everything else is an observation of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import ifpdb as ifp
from ifpdb import digest

Make = Callable[..., ifp.Version]


def test_the_same_four_parts_give_the_same_version(make: Make, registry: ifp.Registry) -> None:
    one, two = make("a"), make("a")
    assert (one.created, two.created) == (True, False)
    assert (one.digest, one.run, one.ordinal) == (two.digest, two.run, two.ordinal)
    assert len(two.runs) == 2 and two.runs[0] == one.run
    assert {registry.run(run).version for run in two.runs} == {one.digest}
    assert registry.resolve(two.runs[1]).run == one.run
    assert len(registry.model("fraud").versions()) == 1


def test_the_second_registration_is_an_event_that_moves_nothing(make: Make, registry: ifp.Registry) -> None:
    make("a")
    registry.model("fraud").promote("v1", "production", force=True, reason="first")
    again = make("a", stage="shadow")
    assert again.stage == "production"
    event = registry.events(kind="registered")[-1]
    assert (event.run, event.to_stage, event.detail["created"]) == (again.runs[1], None, False)


@pytest.mark.parametrize(
    "other",
    [
        {"params": {"C": 2.0}},
        {"params": {"C": "1.0"}},
        {"params": {"C": 1.0, "penalty": None}},
        {"params": {}},
        {"seed": 8},
        {"seed": None},
        {"data": {"train": "train.csv", "validation": "other.csv"}},
        {"data": "other.csv"},
        {"data": {"pretrain": "train.csv"}},
        {"data": "s3://bucket/train.csv#v1"},
        {"schema": [{"name": "amount", "type": "number"}]},
    ],
    ids=str,
)
def test_another_part_is_another_version(make: Make, folder: Path, other: dict[str, Any]) -> None:
    (folder / "other.csv").write_text("other")
    one, two = make("a"), make("a", **other)
    assert two.created and two.digest != one.digest
    assert (one.ordinal, two.ordinal) == (1, 2)


def test_one_bit_of_the_weights_is_another_version(make: Make) -> None:
    one, two = make("a"), make("c")  # 0x61 and 0x63
    assert two.created and two.digest != one.digest


@pytest.mark.parametrize(
    "other",
    [
        {"metrics": {"f1": 0.9}},
        {"tags": ["q1"]},
        {"labels": ["2025-Q4"]},
        {"data": {"train": "train.csv", "holdout": "other.csv"}},
        {"data": {"train": "train.csv", "test": "other.csv"}},
        {"data": {"train": "copy.csv"}},
        {"data": ["copy.csv", "train.csv"]},
        {"stage": "shadow"},
    ],
    ids=str,
)
def test_an_observation_is_not_part_of_it(make: Make, folder: Path, other: dict[str, Any]) -> None:
    (folder / "other.csv").write_text("other")
    one = make("a")
    (folder / "copy.csv").write_bytes((folder / "train.csv").read_bytes())
    two = make("a", **other)
    assert (two.created, two.digest) == (False, one.digest)


def test_neither_time_nor_actor_nor_order_of_parameters_is_part_of_it(
    make: Make, monkeypatch: pytest.MonkeyPatch, clock: Callable[[str], None]
) -> None:
    one = make("a", params={"a": 1, "b": 2})
    clock("2020-01-01")
    monkeypatch.setenv("IFP_ACTOR", "grace")
    assert make("a", params={"b": 2, "a": 1}).digest == one.digest


def test_the_manifest_is_kept_and_hashes_to_the_digest(make: Make, registry: ifp.Registry) -> None:
    version = make("a")
    assert "sha256:" + hashlib.sha256(version.manifest.encode()).hexdigest() == version.digest
    document = json.loads(version.manifest)
    assert digest.canonical(document) == version.manifest.encode()
    assert version.weights is not None and version.schema is not None
    assert document["weights"] == version.weights.digest
    assert document["schema"] == version.schema.digest
    assert document["data"] == [{"role": "train", "digest": version.data[0].digest}]
    assert document["training"]["params"] == [["C", 1.0]]


def test_a_version_tells_its_four_parts(make: Make) -> None:
    version = make("a", tags=["q1", "a"], labels=["2025-Q4"], metrics={"f1": 0.9})
    assert (version.stage, version.partial, version.missing) == ("staging", False, ())
    assert (version.params, version.seed, version.metrics) == ({"C": 1.0}, 7, {"f1": 0.9})
    assert (version.tags, version.labels) == (("a", "q1"), ("2025-Q4",))
    assert version.weights is not None
    assert version.weights.digest == "sha256:" + hashlib.sha256(b"a").hexdigest()
    assert (version.data[0].uri, version.data[0].role, version.data[0].name) == ("train.csv", "train", "train.csv")
    assert version.schema is not None and version.schema.names == ("amount", "country")


@pytest.mark.parametrize(
    ("absent", "missing"),
    [
        (["data"], ("data",)),
        (["schema"], ("schema",)),
        (["params", "seed"], ("training",)),
        (["data", "schema", "params", "seed"], ("data", "schema", "training")),
    ],
)
def test_a_missing_part_needs_partial_and_is_listed(
    make: Make, registry: ifp.Registry, absent: list[str], missing: tuple[str, ...]
) -> None:
    given: dict[str, Any] = dict.fromkeys(absent)
    with pytest.raises(ifp.Refused, match="--partial"):
        make("a", **given)
    assert registry.models() == []
    version = make("a", partial=True, **given)
    assert (version.partial, version.missing) == (True, missing)
    assert registry.sql("SELECT partial FROM versions") == [{"partial": 1}]


def test_a_run_without_weights_registers_only_partially(registry: ifp.Registry) -> None:
    with ifp.track("fraud", params={"C": 1.0}) as run:
        assert run.register(partial=True).missing == ("weights", "data", "schema")
    with ifp.track("fraud", params={"C": 2.0}) as run, pytest.raises(ifp.UsageError, match="no fit was seen"):
        run.register()


def test_data_by_pointer_is_a_whole_part(make: Make) -> None:
    version = make("a", data={"train": "s3://bucket/train.csv#v12"})
    assert not version.partial
    assert (version.data[0].digest, version.data[0].uri) == (None, "s3://bucket/train.csv#v12")


def test_only_evaluation_data_is_no_training_data(make: Make) -> None:
    with pytest.raises(ifp.Refused, match="data part"):
        make("a", data={"holdout": "train.csv"})


def test_ordinals_count_within_a_model(make: Make) -> None:
    made = [make(weights, model) for weights, model in [("a", "m"), ("b", "m"), ("c", "n"), ("a", "m"), ("d", "m")]]
    assert [version.ordinal for version in made] == [1, 2, 1, 1, 3]


@pytest.mark.parametrize(
    ("name", "better"),
    [
        ("fraud_final", "fraud"),
        ("fraud-v2", "fraud"),
        ("fraudFIXED", "fraud"),
        ("fraud_copy", "fraud"),
        ("fraud.pkl", "fraud"),
        ("fraud_v8_final_FIXED.pkl", "fraud"),
    ],
)
def test_a_version_in_disguise_is_refused_with_a_better_name(
    make: Make, registry: ifp.Registry, name: str, better: str
) -> None:
    with pytest.raises(ifp.UsageError, match=f"'{better}'"):
        make("a", name)
    assert registry.models() == []


def test_a_name_that_looks_like_a_version_can_be_insisted_on(make: Make) -> None:
    assert make("a", "fraud-v2", allow_name=True).model == "fraud-v2"


@pytest.mark.parametrize("name", ["run-8832", "Fraud Detector", "", "-fraud", "a" * 129, "fraud@x", None, 7])
def test_a_malformed_name_is_refused_even_with_allow_name(make: Make, name: Any) -> None:
    with pytest.raises(ifp.UsageError):
        make("a", name, allow_name=True)


@pytest.mark.parametrize(
    "wish",
    [
        {"stage": "production"},
        {"stage": "archived"},
    ],
)
def test_a_version_starts_in_staging_or_shadow(make: Make, wish: dict[str, str]) -> None:
    assert make("a", stage="shadow").stage == "shadow"
    with pytest.raises(ifp.Refused, match="starts in staging or shadow"):
        make("b", **wish)


BAD: dict[str, tuple[dict[str, Any], type[ifp.IfpError]]] = {
    "a parameter that is not JSON": ({"params": {"C": {1, 2}}}, ifp.UsageError),
    "a parameter that is NaN": ({"params": {"C": float("nan")}}, ifp.UsageError),
    "a parameter beyond a double": ({"params": {"C": 2**60}}, ifp.UsageError),
    "parameters that are a list": ({"params": ["C"]}, ifp.UsageError),
    "a metric that is no number": ({"metrics": {"f1": "good"}}, ifp.UsageError),
    "a metric without a value": ({"metrics": {"f1": None}}, ifp.UsageError),
    "a metric with a line break": ({"metrics": {"f1\n": 1.0}}, ifp.UsageError),
    "a seed that is no integer": ({"seed": 1.5}, ifp.UsageError),
    "a seed beyond 64 bits": ({"seed": 2**63}, ifp.UsageError),
    "an unknown stage": ({"stage": "live"}, ifp.UsageError),
    "a stage of the gate": ({"stage": "production"}, ifp.Refused),
    "a bad tag": ({"tags": ["Q1"]}, ifp.UsageError),
    "tags that are one text": ({"tags": "q1"}, ifp.UsageError),
    "a bad label": ({"labels": ["v8"]}, ifp.UsageError),
    "the label latest": ({"labels": ["latest"]}, ifp.UsageError),
    "a label that is a stage": ({"labels": ["production"]}, ifp.UsageError),
    "data that is not there": ({"data": "nowhere.csv"}, ifp.UsageError),
    "data that is a number": ({"data": 7}, ifp.UsageError),
    "data in a bad role": ({"data": {"Train!": "train.csv"}}, ifp.UsageError),
    "a schema that is not there": ({"schema": "nowhere.json"}, ifp.UsageError),
    "a schema that is a CSV": ({"schema": "train.csv"}, ifp.UsageError),
    "a schema of an unknown type": ({"schema": [{"name": "x", "type": "money"}]}, ifp.UsageError),
    "a missing part": ({"schema": None}, ifp.Refused),
    "a parent that is not here": ({"derived_from": "run-0000000000"}, ifp.NotFound),
    "a parent that is no reference": ({"derived_from": "?"}, ifp.UsageError),
    "a lineage of an unknown kind": ({"derived_from": [("fraud@v1", "stolen_from")]}, ifp.UsageError),
    "the same parent in two kinds": ({"derived_from": ["fraud@v1", ("fraud@v1", "forked_from")]}, ifp.Conflict),
}


@pytest.mark.parametrize("bad", BAD)
def test_bad_input_leaves_the_registry_byte_for_byte(make: Make, registry: ifp.Registry, bad: str) -> None:
    make("first")
    before = registry.path.read_bytes()
    given, error = BAD[bad]
    with pytest.raises(error):
        make("second", **given)
    assert registry.path.read_bytes() == before
    assert len(list(registry.path.parent.glob("ifp.db*"))) == 1


@pytest.mark.parametrize("bad", ["nowhere.bin", "links", "empty", "\0"])
def test_a_bad_artifact_leaves_the_registry_byte_for_byte(
    make: Make, registry: ifp.Registry, parts: dict[str, Any], folder: Path, bad: str
) -> None:
    make("first")
    (folder / "empty").mkdir()
    (folder / "links").mkdir()
    (folder / "links" / "link").symlink_to(folder / "train.csv")
    before = registry.path.read_bytes()
    with pytest.raises(ifp.UsageError):
        registry.register("fraud", bad, **parts)
    assert registry.path.read_bytes() == before


def test_a_folder_is_one_artifact(registry: ifp.Registry, parts: dict[str, Any], folder: Path) -> None:
    saved = folder / "saved"
    (saved / "variables").mkdir(parents=True)
    (saved / "graph.pb").write_text("graph")
    (saved / "variables" / "data").write_text("weights")
    one = registry.register("fraud", saved, **parts)
    assert one.weights is not None and (one.weights.kind, one.weights.size) == ("tree", 12)
    assert registry.register("fraud", saved, **parts).created is False
    (saved / "variables" / "data").write_text("Weights")
    assert registry.register("fraud", saved, **parts).created is True


def test_a_label_taken_over_at_registration_tells_from_whom(registry: ifp.Registry, make: Any) -> None:
    first = make("a", labels=["2025-Q4"])
    second = make("b", labels=["2025-Q4"])
    (event,) = registry.events(kind="labelled")
    assert (event.version, event.detail) == (second.digest, {"label": "2025-Q4", "from": first.digest})


def test_a_run_that_registers_again_keeps_the_time_of_the_first(folder: Path, parts: dict[str, Any]) -> None:
    with ifp.track("fraud", data=parts["data"], seed=1) as run:
        first = run.register({"w": 1}, schema=parts["schema"])
        again = run.register({"w": 1}, schema=parts["schema"])
    assert (again.digest, again.created, again.created_at) == (first.digest, False, first.created_at)
