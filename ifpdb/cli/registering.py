"""init, register: how a registry and its versions come to be."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from .. import names, registration, settings
from ..capture.data import dataset as datasets
from ..capture.schema.features import FeatureSchema
from ..capture.schema.inference import infer_schema
from ..desk import init
from ..digest import say_parts
from ..errors import UsageError
from ..records import Dataset, Version
from ..store.filesystem import network_kind
from .options import Session, command
from .output import emit_json, printable, stage

_PROGRESS_FROM = 64 << 20


@command("init")
@click.argument("path", required=False, type=click.Path(dir_okay=True))
def init_command(session: Session, path: str | None) -> None:
    """Make a registry at PATH (default: ./ifp.db); one that is there already stays as it is."""
    place = settings.named_registry(path or session.db) or Path.cwd() / settings.DEFAULT_NAME
    new = not place.exists() or not place.stat().st_size
    with init(place, actor=session.actor) as registry:
        if session.form == "json":
            emit_json({"path": os.path.relpath(registry.path), "created": new})
        else:
            click.echo(f"{'made' if new else 'found'} {printable(os.path.relpath(registry.path))}")
        if network := network_kind(registry.path):
            click.echo(f"On a network disk ({network}): only one machine at a time may write (docs/reliability.md).", err=True)
        if (registry.project / ".git").exists():
            click.echo("In a git checkout: run ifp git install once, and commit the .db (docs/git.md).", err=True)


@command("register")
@click.argument("model")
@click.argument("artifact", metavar="FILE_OR_FOLDER", type=click.Path())
@click.option("--data", multiple=True, metavar="[ROLE=]PATH", help="Name a data file or folder; its role is train.")
@click.option("--data-ref", multiple=True, metavar="[ROLE=]URI#REV", help="Point to data whose bytes aren't here.")
@click.option("--schema", type=click.Path(), metavar="FILE.json", help="Read the feature schema from a JSON file.")
@click.option(
    "--schema-from", type=click.Path(), metavar="DATA", help="Read the feature schema off a table: CSV, Parquet or Feather."
)
@click.option("--target", multiple=True, metavar="COLUMN", help="Name a column of --schema-from that is predicted: no feature.")
@click.option("--param", multiple=True, metavar="K=V", help="Record a parameter; V is JSON where it reads as JSON.")
@click.option("--params", type=click.Path(), metavar="FILE", help="Read parameters from a JSON or YAML file.")
@click.option("--metric", multiple=True, metavar="K=V", help="Record a metric.")
@click.option("--seed", type=int, metavar="N", help="Record the random seed.")
@click.option("--tag", multiple=True, metavar="T", help="Tag the version.")
@click.option("--label", multiple=True, metavar="L", help="Label the version, as in 2025-Q4.")
@click.option("--from", "parents", multiple=True, metavar="[KIND=]REF", help="Name what it came from (derived_from).")
@click.option("--stage", "to_stage", default="staging", metavar="S", help="Start in staging or shadow.")
@click.option("--partial", is_flag=True, help="Register although a part is missing.")
@click.option("--allow-name", is_flag=True, help="Allow a model name that looks like a version.")
def register_command(
    session: Session,
    model: str,
    artifact: str,
    data: Sequence[str],
    data_ref: Sequence[str],
    schema: str | None,
    schema_from: str | None,
    target: Sequence[str],
    param: Sequence[str],
    params: str | None,
    metric: Sequence[str],
    seed: int | None,
    tag: Sequence[str],
    label: Sequence[str],
    parents: Sequence[str],
    to_stage: str,
    partial: bool,
    allow_name: bool,
) -> None:
    """Register FILE_OR_FOLDER as a version of MODEL, a name such as fraud-detector.

    A version is four parts: the weights, the training data (--data), the feature schema (--schema) and the training
    record (--param, --params, --seed). The schema comes from a file (--schema) or off the data (--schema-from). The same
    four parts give the same version back.
    """
    names.check_model(model, allow=allow_name)
    if not os.path.exists(artifact):
        raise UsageError(f"there is no file or folder {artifact}")
    with session.making() as registry:
        given = [*(_dataset(text, registry.project) for text in data), *(_pointer(text) for text in data_ref)]
        with _progress(Path(artifact)) as progress:
            version = registry.register(
                model,
                Path(artifact),
                data=given or None,
                schema=_schema(schema, schema_from, target),
                params=_params(param, params),
                metrics=parse_metrics(metric),
                seed=seed,
                derived_from=[_parent(text) for text in parents],
                stage=to_stage,
                tags=tag,
                labels=label,
                partial=partial,
                allow_name=allow_name,
                progress=progress,
            )
        place = os.path.relpath(registry.blobs.path(version.weights.digest)) if version.weights else None
        _emit_registered(session, version, place)


def _emit_registered(session: Session, version: Version, place: str | None) -> None:
    anew = bool(version.weights and version.weights.stored_anew)
    if session.form == "json":
        emit_json(version.as_dict() | {"created": version.created, "path": place, "stored_anew": anew})
        return
    click.echo(version.name)
    known = "" if version.created else ", which is the version that these parts made before"
    click.echo(f"v{version.ordinal}, stage: {stage(version.stage)} | run: {version.runs[-1]}{known}")
    click.echo(f"artifact: {printable(place or 'none')} ({'stored' if anew else 'stored before, kept once'})")
    if version.partial:
        click.echo(f"partial: it lacks its {say_parts(version.missing)}", err=True)
    if version.weights and not version.weights.size:
        click.echo("warning: the artifact is empty", err=True)


def _pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise UsageError(f"'{text}' is not KEY=VALUE")
    return key, value


def parse_metrics(pairs: Sequence[str]) -> dict[str, float]:
    """K=V pairs as metrics; `nan` and `inf` are numbers here."""
    found = {}
    for key, value in map(_pair, pairs):
        try:
            found[key] = float(value)
        except ValueError:
            raise UsageError(f"metric {key!r} is {value!r}, not a number") from None
    return found


def _params(pairs: Sequence[str], file: str | None) -> dict[str, Any] | None:
    if not pairs and file is None:
        return None
    found = _read_mapping(Path(file)) if file is not None else {}
    return found | {key: _json_or_text(value) for key, value in map(_pair, pairs)}


def _json_or_text(text: str) -> Any:
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return text if isinstance(value, float) and not math.isfinite(value) else value


def _read_mapping(path: Path) -> dict[str, Any]:
    import yaml

    try:
        text = path.read_text(encoding="utf-8")
        document = json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
    except OSError as error:
        raise UsageError(f"{path} can't be read: {error.strerror}") from None
    except (ValueError, yaml.YAMLError) as error:
        raise UsageError(f"{path} is neither JSON nor YAML: {error}") from None
    if not isinstance(document, dict):
        raise UsageError(f"{path} must hold a mapping of parameter to value")
    return registration.check_params(document)


def _dataset(text: str, project: Path) -> Dataset:
    role, path = _role(text)
    if not os.path.exists(path):
        raise UsageError(f"there is no data at {path}; data whose bytes aren't here is named by --data-ref URI#REV")
    return datasets.describe(path, role=role, project=project)


def _pointer(text: str) -> Dataset:
    role, pointer = _role(text)
    checked = datasets.check_pointer(pointer)
    return Dataset(role, datasets.pointer_name(checked), None, checked, kind="pointer")


def _schema(file: str | None, table: str | None, target: Sequence[str]) -> FeatureSchema | str | None:
    if table is None:
        if target:
            raise UsageError("--target names a column of --schema-from: give that too")
        return file
    if file is not None:
        raise UsageError("--schema and --schema-from exclude each other")
    columns = datasets.describe(table).columns
    if not columns:
        raise UsageError(f"{table} is no table that columns can be read from: give a CSV, Parquet or Feather file")
    if unknown := set(target) - {column.name for column in columns}:
        raise UsageError(f"{table} has no column {min(unknown)!r}; it has {', '.join(column.name for column in columns)}")
    return infer_schema([column for column in columns if column.name not in target])


def _role(text: str) -> tuple[str, str]:
    """`holdout=h.csv` apart; a path that is there as it is written is a path."""
    role, equals, rest = text.partition("=")
    if not equals or os.path.exists(text) or not role.replace("_", "").replace("-", "").isalnum():
        return "train", text
    return names.check_role(role), rest


def _parent(text: str) -> str | tuple[str, str]:
    kind, equals, ref = text.partition("=")
    return (ref, names.check_kind(kind)) if equals else text


@contextmanager
def _progress(path: Path) -> Iterator[Callable[[int], None] | None]:
    """A progress bar on stderr while a large artifact is read, where somebody watches."""
    total = _total_size(path)
    if total < _PROGRESS_FROM or not sys.stderr.isatty():
        yield None
        return
    with click.progressbar(length=total, label="storing", file=sys.stderr) as bar:
        yield bar.update


def _total_size(path: Path) -> int:
    if path.is_dir():
        return sum(entry.stat().st_size for entry in path.rglob("*") if entry.is_file())
    return path.stat().st_size if path.is_file() else 0


COMMANDS = {"init": init_command, "register": register_command}
