"""What a look at a registry found: one record for each thing that is wrong."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Damage:
    """Something that is not as it was written. `digest` is of the blob, version or other fact it is about, '' where none is."""

    kind: str
    digest: str
    detail: str

    def as_dict(self) -> dict[str, Any]:
        return {"kind": self.kind, "digest": self.digest, "detail": self.detail}
