"""Who said that a file which can run code may be loaded: a per-user list of digests, as direnv keeps one.

The list lies in the user's data folder, one small file a digest, and never in a registry: trust doesn't travel with
what it is about. What this user's own process serialized is on it from the start; anything else gets there by
`ifp trust REF`, which first shows what loading it would import.
"""

from __future__ import annotations

import pickletools
import zipfile
from pathlib import Path

from .. import times
from ..errors import StorageError


def is_trusted(digest: str) -> bool:
    """Whether this user vouched for the bytes with this digest."""
    return _entry(digest).is_file()


def trust(digest: str, why: str) -> None:
    """Remember that this user vouches for these bytes. `why` is kept for people to read."""
    entry = _entry(digest)
    try:
        entry.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        entry.write_text(f"{times.now()} {why}\n", encoding="utf-8")
    except OSError as error:
        raise StorageError(f"the trust list {entry.parent} can't be written: {error.strerror}") from error


def trusted() -> list[tuple[str, str]]:
    """(digest, 'time why') of everything this user vouched for, sorted by time."""
    folder = _folder()
    if not folder.is_dir():
        return []
    found = [("sha256:" + entry.name, entry.read_text(encoding="utf-8").strip()) for entry in folder.iterdir()]
    return sorted(found, key=lambda item: item[1])


def imports_of(path: Path) -> list[str]:
    """What unpickling a file would import, as `module.name`, read without importing or running anything.

    Understands pickle streams, and zip archives (torch.save) that hold them. An entry in angle brackets tells what
    could not be read, so a list that holds one is not the whole truth; and a pickle crafted to mislead may hide names.
    """
    if not path.is_file():
        return ["<a folder: look at its files>"]
    if zipfile.is_zipfile(path):
        try:
            with zipfile.ZipFile(path) as archive:
                members = [name for name in archive.namelist() if name.endswith((".pkl", ".pickle"))]
                return sorted({found for name in members for found in _scan(archive.read(name))})
        except Exception as error:  # a crafted archive can fail in many ways; each means "this can't be read"
            return [f"<unreadable archive: {error}>"]
    return sorted(set(_scan(path.read_bytes())))


def _scan(data: bytes) -> list[str]:
    """The globals of a pickle stream. Names come off the strings last pushed or remembered, as STACK_GLOBAL has them."""
    found, strings, memo = list[str](), list[str](), dict[int, str]()
    try:
        for opcode, argument, _ in pickletools.genops(data):
            name = opcode.name
            if name in ("GLOBAL", "INST"):
                found.append(str(argument).replace(" ", "."))
            elif name == "STACK_GLOBAL":
                found.append(".".join(strings[-2:]) if len(strings) >= 2 else "<a computed name>")
            elif name.startswith("EXT"):
                found.append(f"<copyreg extension {argument}>")
            elif isinstance(argument, str) and "PERSID" not in name:
                strings.append(argument)
            elif name == "MEMOIZE":
                memo[len(memo)] = strings[-1] if strings else "<unknown>"
            elif name in ("BINPUT", "LONG_BINPUT", "PUT") and strings:
                memo[int(argument or 0)] = strings[-1]
            elif name in ("BINGET", "LONG_BINGET", "GET"):
                strings.append(memo.get(int(argument or 0), "<unknown>"))
    except Exception as error:  # genops raises many kinds on a damaged or mixed stream; each means "not all was read"
        found.append(f"<unreadable from here on: {error}>")
    return found


def _entry(digest: str) -> Path:
    return _folder() / digest.removeprefix("sha256:")


def _folder() -> Path:
    import platformdirs

    return platformdirs.user_data_path("ifp", appauthor=False) / "trust"
