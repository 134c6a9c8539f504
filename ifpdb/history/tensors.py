"""Weights that changed, as Changes: the whole in one sentence, then what became of each tensor."""

from __future__ import annotations

from typing import Any

from ..answers import Change
from ..errors import IntegrityError, NotFound
from ..records import Artifact
from ..store.blobs import BlobStore


def tensor_changes(blobs: BlobStore, a: Artifact, b: Artifact, *, everything: bool = False) -> list[Change]:
    """The change of the weights, with a note on how large it is or why that can't be told, then its tensors.

    Bytes that are not here or are damaged leave it at the note. With `everything`, tensors that are the same are listed too.
    """
    from .weights import TensorChange, compare_artifacts, summary  # numpy is needed only where weights are compared

    found = list[TensorChange]()
    try:
        found, reason = compare_artifacts(blobs, a, b)
    except (NotFound, IntegrityError) as error:
        reason = str(error)
    note = "; ".join(text for text in (summary(found) if found else None, reason) if text)
    tensors = [
        Change("weights", tensor.name or "array", tensor.change, _kind(tensor.before), _figures(tensor))
        for tensor in found
        if everything or tensor.change != "unchanged"
    ]
    return [Change("weights", "weights", "changed", a.digest, b.digest, note), *tensors]


def _kind(kind: Any) -> dict[str, Any] | None:
    return None if kind is None else {"dtype": kind.dtype, "shape": list(kind.shape)}


def _figures(tensor: Any) -> dict[str, Any] | None:
    """The tensor's kind, and how far it is from what it was."""
    if tensor.after is None:
        return None
    known = tensor.as_dict()
    figures = {key: known[key] for key in ("differing", "max_abs", "mean_abs", "relative", "not_finite")}
    return {**(_kind(tensor.after) or {}), **{key: value for key, value in figures.items() if value is not None}}
