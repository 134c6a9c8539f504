"""What became of the weights, tensor by tensor: the same bits, a difference as rounding gives, or a real change."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from .. import tree
from ..artifacts import mapped
from ..digest import number_to_json
from ..records import Artifact
from ..store import formats, weights
from ..store.blobs import BlobStore
from ..store.weights import Tensor, Unreadable

EPSILON = {
    "float8_e5m2": 2.0**-2,
    "float8_e4m3fn": 2.0**-3,
    "bfloat16": 2.0**-7,
    "float16": 2.0**-10,
    "float32": 2.0**-23,
    "complex64": 2.0**-23,
    "float64": 2.0**-52,
    "complex128": 2.0**-52,
}
"""The step from 1 to the next number, of the types whose differences have a size; of others, what differs is counted."""

_CHUNK = 1 << 16
_SAFE = 1e-280, 1e280
"""Between these, a sum of squares neither overflowed nor lost what is small."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A tensor's type, as numpy or torch call it, and shape."""

    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class TensorChange:
    """What became of one tensor; or of a whole file of a folder, which has no `before` and `after`.

    `change` is 'added', 'removed', 'changed' or 'unchanged' (bit for bit). Of two of one shape, `differing` elements are
    other bits, or other numbers where the types differ. Of numbers that aren't whole: the greatest and the mean absolute
    difference, and `relative`, ‖after - before‖ / ‖before‖ in the Frobenius norm, summed in doubles. Positions where
    either is NaN or infinite are counted in `not_finite` and left out of these figures, but where the two are not alike
    in that, `relative` is infinite; as it is for any change of a tensor of zeros.
    """

    name: str
    change: str
    before: Kind | None = None
    after: Kind | None = None
    differing: int | None = None
    max_abs: float | None = None
    mean_abs: float | None = None
    relative: float | None = None
    not_finite: int | None = None

    def as_dict(self) -> dict[str, Any]:
        figures = {key: number_to_json(getattr(self, key)) for key in ("max_abs", "mean_abs", "relative")}
        return {**asdict(self), **figures}

    @property
    def is_rounding(self) -> bool:
        """Whether it differs by no more than rounding would give: see `rounding_limit`."""
        if self.relative is None or self.before is None or self.after is None:
            return False
        return self.relative <= rounding_limit(self.before.dtype, self.after.dtype)


def rounding_limit(before: str, after: str) -> float:
    """The relative norm up to which a difference is called rounding: √ε, that is half of the digits agree.

    ε is that of the type, float32's at most, since half floats are trained with float32 sums; a conversion to another type
    may add the coarser one's ε. Measured with a network of 82,000 weights, linear models and another processor's instructions:
    at most 4e-7 after 10 steps in float32 (√ε is 3e-4) and 7e-12 in float64 (1.5e-8), while one other row in 8,192 gave
    9e-4 and more. Over hundreds of steps in float32 rounding itself grows to 1e-2: that is not told from another training.
    """
    epsilon = max(EPSILON[before], EPSILON[after])
    return max(math.sqrt(min(epsilon, EPSILON["float32"])), epsilon if before != after else 0)


def compare_weights(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> list[TensorChange]:
    """What became of each tensor: those of `a` in their order, then what only `b` has.

    One tensor of each side is read at a time, and looked at in small chunks. Raises Unreadable as `Tensor.read` does.
    """
    return [_change(name, a.get(name), b.get(name)) for name in [*a, *(name for name in b if name not in a)]]


def compare_artifacts(blobs: BlobStore, a: Artifact, b: Artifact) -> tuple[list[TensorChange], str | None]:
    """What became of each tensor of an artifact, and why some or all can't be compared; None where all could be.

    The files of two folders are compared path by path: those that are the same, were added or removed stand for their
    tensors, and tensors of the others are called `path:name`. Raises NotFound and IntegrityError as `BlobStore.read` does.
    """
    if a.digest == b.digest:
        return [TensorChange(a.name, "unchanged")], None
    if a.kind != b.kind:
        return [], "a file can't be compared with a folder"
    if a.kind == "file":
        return _files(blobs, (a.digest, a.format), (b.digest, b.format))
    return _folders(blobs, *({entry.path: entry for entry in tree.load(blobs.read(one.digest))} for one in (a, b)))


def _folders(
    blobs: BlobStore, before: Mapping[str, tree.Entry], after: Mapping[str, tree.Entry]
) -> tuple[list[TensorChange], str | None]:
    changes, reasons = list[TensorChange](), list[str]()
    for path in sorted(before.keys() | after.keys()):
        old, new = before.get(path), after.get(path)
        if old is None or new is None:
            changes.append(TensorChange(path, "added" if old is None else "removed"))
        elif old.digest == new.digest:
            changes.append(TensorChange(path, "unchanged"))
        else:
            found, reason = _files(blobs, *((entry.digest, _format(blobs, entry)) for entry in (old, new)))
            changes += (replace(one, name=f"{path}:{one.name}") for one in found)
            reasons += [f"{path}: {reason}"] if reason else []
    return changes, "; ".join(reasons) or None


def _format(blobs: BlobStore, entry: tree.Entry) -> str:
    found = formats.guess(blobs.path(entry.digest))
    return formats.guess_by_name(entry.path) if found == formats.BYTES else found


def _files(blobs: BlobStore, *files: tuple[str, str]) -> tuple[list[TensorChange], str | None]:
    try:
        for _, format in files:
            weights.check(format)
        return compare_weights(*(weights.arrays(mapped(blobs, digest), format) for digest, format in files)), None
    except Unreadable as error:
        return [], str(error)


def _change(name: str, a: Tensor | None, b: Tensor | None) -> TensorChange:
    import numpy

    before, after = (Kind(one.dtype, one.shape) if one else None for one in (a, b))
    if a is None or b is None:
        return TensorChange(name, "added" if a is None else "removed", before, after)
    numbers = a.dtype in EPSILON and b.dtype in EPSILON
    if a.shape != b.shape or (a.dtype != b.dtype and not numbers):
        return TensorChange(name, "changed", before, after)
    x, y = a.read(), b.read()
    if a.dtype == b.dtype and not any(_other_bits(*chunk).any() for chunk in _chunks(x, y)):
        return TensorChange(name, "unchanged", before, after, 0, *((0.0, 0.0, 0.0) if numbers else ()))
    if not numbers:
        differing = sum(int(_other_bits(*chunk).sum()) for chunk in _chunks(x, y))
        return TensorChange(name, "changed", before, after, differing)
    with numpy.errstate(all="ignore"):
        return TensorChange(name, "changed", before, after, **_figures(_chunks(x, y), a.dtype, b.dtype))


def _chunks(x: Any, y: Any) -> Iterator[tuple[Any, Any]]:
    """Two arrays side by side, in whatever order suits the memory they lie in."""
    import numpy

    flags, each = ("external_loop", "buffered", "zerosize_ok"), ("readonly", "contig", "nbo")
    nditer: Any = numpy.nditer
    return iter(nditer([x, y], flags, [each, each], casting="equiv", buffersize=_CHUNK))


def _other_bits(x: Any, y: Any) -> Any:
    """Which elements are other bytes."""
    size = x.itemsize
    if size in (1, 2, 4, 8):
        return x.view(f"u{size}") != y.view(f"u{size}")
    return (x.view("u1").reshape(-1, size) != y.view("u1").reshape(-1, size)).any(axis=1)


def _figures(chunks: Iterator[tuple[Any, Any]], before: str, after: str) -> dict[str, Any]:
    import numpy

    differing = not_finite = count = 0
    greatest = total = norm = distance = 0.0
    for left, right in chunks:
        x, y = (_doubles(weights.decoded(raw, kind)) for raw, kind in ((left, before), (right, after)))
        differing += int(numpy.count_nonzero(_other_bits(left, right) if before == after else _unlike(x, y)))
        finite = numpy.isfinite(x) & numpy.isfinite(y)
        if not finite.all():
            not_finite += int(numpy.count_nonzero(~finite))
            if _unlike(x[~finite], y[~finite]).any():
                distance = math.inf
            x, y = x[finite], y[finite]
        size = numpy.abs(y - x)
        count += size.size
        greatest = max(greatest, float(size.max(initial=0)))
        total += float(size.sum())
        norm, distance = math.hypot(norm, _norm(numpy.abs(x))), math.hypot(distance, _norm(size))
    relative = distance / norm if norm and math.isfinite(distance) else math.inf if distance else 0.0
    mean = total / count if count else 0.0
    return {"differing": differing, "max_abs": greatest, "mean_abs": mean, "relative": relative, "not_finite": not_finite}


def _doubles(numbers: Any) -> Any:
    return numbers.astype("c16" if numbers.dtype.kind == "c" else "f8", copy=False)


def _unlike(x: Any, y: Any) -> Any:
    """Which numbers are other numbers, where NaN is NaN."""
    return (x != y) & ((x == x) | (y == y))


def _norm(sizes: Any) -> float:
    """The norm of numbers that are not negative, also where their squares are too great or too small for a double."""
    import numpy

    squares = float(numpy.dot(sizes, sizes))
    if _SAFE[0] < squares < _SAFE[1]:
        return math.sqrt(squares)
    greatest = float(sizes.max(initial=0))
    if greatest in (0, math.inf):
        return greatest
    return greatest * float(numpy.linalg.norm(sizes / greatest))


def summary(changes: Sequence[TensorChange]) -> str:
    """One sentence about all of it, without a full stop, that names the tensor which differs the most."""
    tensors = [one for one in changes if not _is_file(one)]
    if all(one.change == "unchanged" for one in changes):
        return f"{_things(changes)}, the same bit for bit" if changes else "there is no tensor to compare"
    differing = [one for one in tensors if one.differing is not None and one.change == "changed"]
    groups = {word: [one for one in changes if one.change == word] for word in ("added", "removed")}
    groups["of another shape or type"] = [one for one in tensors if one.change == "changed" and one.differing is None]
    found = [f"{_things(group)} {word}" for word, group in groups.items() if group]
    if not differing:
        return f"{', '.join(found)}; nothing else differs"
    told = f"{len(differing):,} of {_things(tensors)} {'differs' if len(differing) == 1 else 'differ'}{_extent(differing)}"
    verdict = "rounding, as another machine would give"
    if found or not all(one.is_rounding for one in differing):
        verdict = "more than rounding, retrained"
    return f"{', '.join(found)}{'; ' if found else ''}{told}: {verdict}"


def _extent(differing: Sequence[TensorChange]) -> str:
    """How far, and where the most; of whole numbers alone, how many."""
    floats = [one for one in differing if one.relative is not None]
    if not floats:
        most = max(differing, key=lambda one: one.differing or 0)
        return f", most in '{most.name}' ({most.differing:,} values)"
    most = max(floats, key=lambda one: one.relative or 0)
    lost = sum(one.not_finite or 0 for one in floats)
    gaps = f", with {lost:,} NaN or infinite" if lost else ""
    greatest = max(one.max_abs or 0 for one in floats)
    return f" by at most {greatest:.2g} (relative norm {most.relative:.2g}, most in '{most.name}'{gaps})"


def _is_file(one: TensorChange) -> bool:
    return one.before is None and one.after is None


def _things(changes: Sequence[TensorChange]) -> str:
    files = sum(_is_file(one) for one in changes)
    counts = ((len(changes) - files, "tensor"), (files, "file"))
    return " and ".join(f"{count:,} {noun}{'' if count == 1 else 's'}" for count, noun in counts if count)
