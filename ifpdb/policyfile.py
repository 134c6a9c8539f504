"""A policy as people write it: YAML, or a mapping of the same shape, checked and read into a Policy."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from .errors import UsageError
from .policy import NOTIFY, OPERATORS, Policy, bounds_of

LONGEST = 50_000
"""The most characters that a policy file may have; PyYAML takes minutes for a megabyte that somebody made for that."""

_TARGET = re.compile(r"slack:#?\S+|(hook|exec):[A-Za-z0-9][A-Za-z0-9._-]*")


def parse(text: str, *, source: str = "policy") -> Policy:
    """The Policy that a YAML (or JSON) text describes.

    Raises UsageError, with the line, for text that is not YAML, for unknown or repeated keys and for bad values.
    """
    import yaml

    if len(text) > LONGEST:
        raise UsageError(f"{source}, line 1: this is no policy: it has more than {LONGEST:,} characters")
    try:
        node = yaml.compose(text, Loader=_loader())
        _check_nodes(node, source)
        document = yaml.load(text, Loader=_loader())  # noqa: S506  # a SafeLoader
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise UsageError(f"{source}, line {line}: this is not YAML: {error.problem}") from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise UsageError(f"{source}, line {line}: this is not YAML: {error.reason}") from None
    except RecursionError:
        raise UsageError(f"{source}, line 1: this is no policy: it nests too deep") from None
    return _validate(document, source, lambda path: _line_of(node, path))


def from_mapping(document: Mapping[str, Any], *, source: str = "policy") -> Policy:
    """The Policy that a mapping in the shape of the YAML file describes; raises UsageError as `parse` does."""
    return _validate(document, source, lambda _path: None)


def _validate(document: Any, source: str, line_of: Any) -> Policy:
    from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, StrictBool, StrictInt, ValidationError

    class Validation(BaseModel):
        model_config = ConfigDict(extra="forbid", strict=True)
        bounds: dict[str, FiniteFloat] = Field(default_factory=dict)
        dataset: str | None = Field(default=None, min_length=1)
        beats_production: dict[str, FiniteFloat] = Field(default_factory=dict)
        promote_on_pass: str | None = Field(default=None, pattern=r"^production\z")
        notify_on_fail: str | list[str] = Field(default_factory=list)
        notify_on_promote: str | list[str] = Field(default_factory=list)
        notify_on_rollback: str | list[str] = Field(default_factory=list)

    class Approvals(BaseModel):
        model_config = ConfigDict(extra="forbid", strict=True)
        required: StrictInt = Field(default=1, ge=0)
        not_author: StrictBool = False
        approvers: list[str] | None = Field(default=None, min_length=1)
        signed: StrictBool = False

    class Document(BaseModel):
        model_config = ConfigDict(extra="forbid", strict=True)
        validation: Validation
        approvals: Approvals | None = None

    def fail(path: Sequence[Any], why: str) -> UsageError:
        line = line_of(path)
        where = f"{source}, line {line}" if line else source
        return UsageError(f"{where}: {'.'.join(map(str, path)) or 'the document'}: {why}")

    if not isinstance(document, Mapping):
        raise fail((), "must be a mapping with the key 'validation'")
    shaped = dict(document)
    if isinstance(shaped.get("validation"), Mapping):
        validation = dict(shaped["validation"])
        bounds = {k: validation.pop(k) for k in list(validation) if str(k)[:4] in OPERATORS and len(str(k)) > 4}
        if "bounds" in validation:
            raise fail(("validation", "bounds"), "is no key of a policy")
        shaped["validation"] = validation | {"bounds": bounds}
    if "approvals" in shaped and shaped["approvals"] is None:
        raise fail(("approvals",), "is empty: give it a value, or leave it out")
    for section in ("validation", "approvals"):
        rules = shaped.get(section)
        if empty := [key for key in rules if rules[key] is None] if isinstance(rules, Mapping) else []:
            raise fail((section, empty[0]), "is empty: give it a value, or leave it out")
    try:
        parsed = Document.model_validate(shaped)
    except ValidationError as error:
        first = error.errors()[0]
        path = [step for step in first["loc"] if step not in ("bounds", "str", "list[str]")]
        why = "is no key of a policy" if first["type"] == "extra_forbidden" else first["msg"]
        raise fail(path, why) from None
    rules = parsed.validation
    notified = {key: (said,) if isinstance(said := getattr(rules, key), str) else tuple(said) for key in NOTIFY}
    for key, targets in notified.items():
        if wrong := [target for target in targets if not _TARGET.fullmatch(target)]:
            raise fail(("validation", key), f"{wrong[0]!r} is not slack:#channel, hook:NAME or exec:NAME")
    approvals = parsed.approvals or Approvals(required=0)
    approvers = tuple(approvals.approvers or ())
    if why := _impossible(approvals.required, approvers, approvals.signed):
        raise fail(("approvals", "approvers" if approvers else "signed"), why)
    return Policy(
        bounds=bounds_of(rules.bounds),
        dataset=rules.dataset,
        dataset_name=rules.dataset,
        beats_production=tuple(rules.beats_production.items()),
        promote_on_pass=rules.promote_on_pass,
        **notified,
        approvals_required=approvals.required,
        approvals_not_author=approvals.not_author,
        approvers=approvers,
        approvals_signed=approvals.signed,
    )


def _impossible(required: int, approvers: Sequence[str], signed: bool) -> str:
    """Why approvals so asked for make no sense; '' where they do."""
    if wrong := [name for name in approvers if not name.strip() or not name.isprintable()]:
        return f"{wrong[0]!r} is nobody: write an actor ('grace') or a mail address"
    if approvers and required > len(set(approvers)):
        return f"{required} approvals can't come from {len(set(approvers))} approvers"
    return "there is nothing to approve where `required` is 0" if (approvers or signed) and not required else ""


@cache
def _loader() -> Any:
    """PyYAML's SafeLoader, which takes 1e-3 for a number as YAML 1.2 does (in YAML 1.1 it is text)."""
    import yaml

    class Loader(yaml.SafeLoader):
        pass

    exponent = re.compile(r"[-+]?([0-9]+(\.[0-9]*)?|\.[0-9]+)[eE][-+]?[0-9]+\Z")
    Loader.add_implicit_resolver("tag:yaml.org,2002:float", exponent, list("-+.0123456789"))
    return Loader


def _check_nodes(node: Any, source: str) -> None:
    """Refuse what PyYAML lets through: repeated keys (it keeps the last) and scalars that it chokes on."""
    seen = set[int]()
    waiting = [node] if node is not None else []
    while waiting:
        node = waiting.pop()
        if id(node) in seen:  # an alias, perhaps to what it stands in
            continue
        seen.add(id(node))
        if node.id == "scalar":
            try:
                _loader()("").construct_object(node)
            except ValueError as error:
                where = f"{source}, line {node.start_mark.line + 1}"
                raise UsageError(f"{where}: {node.value[:40]!r} can't be read ({error}): put it in quotes") from None
        elif node.id == "sequence":
            waiting += node.value
        else:
            _refuse_repeated_keys(node.value, source)
            waiting += [value for _, value in node.value]


def _refuse_repeated_keys(pairs: list[tuple[Any, Any]], source: str) -> None:
    seen = set[str]()
    for key, _ in pairs:
        where = f"{source}, line {key.start_mark.line + 1}"
        if key.id != "scalar":
            raise UsageError(f"{where}: a key is a word, not a list or a mapping")
        if key.tag == "tag:yaml.org,2002:merge":  # a few lines of them make a document of any size
            raise UsageError(f"{where}: << is no key of a policy: write its keys out")
        if key.value in seen:
            raise UsageError(f"{where}: {key.value} stands here a second time")
        seen.add(key.value)


def _line_of(node: Any, path: Sequence[Any]) -> int:
    """The line of the deepest key of `path` that the YAML node has."""
    line = node.start_mark.line + 1 if node is not None else 1
    for step in path:
        if node is None or node.id != "mapping":
            break
        for key, value in node.value:
            if key.value == str(step):
                line, node = key.start_mark.line + 1, value
                break
        else:
            break
    return int(line)
