"""Power cuts, replayed: from strace's log of a work, every state of the disk that a cut could have left.

The log gives the operations in their order. After each of them the power is cut, and a disk decides what of the writes
that weren't synced is there: all, nothing, every other block, or something else for each file. Names (of new, renamed and
removed files) are there at once, or on a strict disk only after an fsync of their folder, which is all that POSIX promises.
"""

from __future__ import annotations

import hashlib
import random
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from forks import CALLS, SAYS
from sweep import Bench, Reference, judge

OPTIONS = ["-xx", "-s", "16000000", "-e", f"trace={CALLS},{SAYS}"]
BLOCK = 512


@dataclass(frozen=True, slots=True)
class Operation:
    """One call that changed the box, or 'ack', a step that was acknowledged. Paths are relative to the box."""

    kind: str
    path: str = ""
    data: bytes = b""
    at: int = 0
    to: str = ""


@dataclass(slots=True)
class File:
    """What a file holds for who reads it now, and what of it is certainly on the disk."""

    now: bytes
    synced: bytes

    def torn(self) -> bytes:
        """Every other block of what was not synced."""
        if self.now == self.synced:
            return self.now
        size = max(len(self.now), len(self.synced))
        new, old = self.now.ljust(size, b"\0"), self.synced.ljust(size, b"\0")
        return b"".join((new if at // BLOCK % 2 else old)[at : at + BLOCK] for at in range(0, size, BLOCK))


@dataclass(slots=True)
class Tree:
    """The box as it is seen, and the names in it that are certainly on the disk."""

    files: dict[str, File]
    folders: set[str]
    synced_files: dict[str, File] = field(init=False)
    synced_folders: set[str] = field(init=False)

    def __post_init__(self) -> None:
        self.synced_files, self.synced_folders = dict(self.files), set(self.folders)

    def apply(self, done: Operation) -> None:
        """Do what the operation did."""
        match done.kind:
            case "create":
                self.files.setdefault(done.path, File(b"", b""))
            case "write":
                file = self.files[done.path]
                before = file.now.ljust(done.at, b"\0")
                file.now = before[: done.at] + done.data + before[done.at + len(done.data) :]
            case "truncate":
                file = self.files[done.path]
                file.now = file.now[: done.at].ljust(done.at, b"\0")
            case "sync" if done.path in self.folders:
                self._sync_names(done.path)
            case "sync":
                file = self.files[done.path]
                file.synced = file.now
            case "rename":
                self.files[done.to] = self.files.pop(done.path)
            case "unlink":
                del self.files[done.path]
            case "mkdir":
                self.folders.add(done.path)
            case "rmdir":
                self.folders.discard(done.path)

    def _sync_names(self, folder: str) -> None:
        here = {path: file for path, file in self.files.items() if _folder_of(path) == folder}
        elsewhere = {path: file for path, file in self.synced_files.items() if _folder_of(path) != folder}
        self.synced_files = elsewhere | here
        self.synced_folders = {path for path in self.synced_folders if _folder_of(path) != folder}
        self.synced_folders |= {path for path in self.folders if _folder_of(path) == folder} | {""}


SHOWN = (
    ("synchronous=FULL", "promote", "strict", -1),
    ("synchronous=OFF", "promote", "tears", -1),
    ("blob not synced", "register", "drops", 1),
    ("shard not synced", "register", "strict", -1),
    ("row before bytes", "register", "strict", -1),
    ("renamed before synced", "register", "tears", 1),
    ("live file not synced", "log_artifact", "drops", -1),
)
"""The controls that power cuts must notice: in which work, on which disk, and from which end of the work soonest."""

Image = dict[str, bytes | None]
"""What lies on a disk after a cut: files with their bytes, folders with None."""


def keep(tree: Tree, _luck: random.Random) -> Image:
    """Everything had reached the disk, which is what kill -9 leaves too."""
    return _image(tree.folders, {path: file.now for path, file in tree.files.items()})


def drop(tree: Tree, _luck: random.Random) -> Image:
    """Names had reached the disk, and of the bytes only what was synced."""
    return _image(tree.folders, {path: file.synced for path, file in tree.files.items()})


def tear(tree: Tree, _luck: random.Random) -> Image:
    """Of the bytes that weren't synced every other block."""
    return _image(tree.folders, {path: file.torn() for path, file in tree.files.items()})


def strict(tree: Tree, _luck: random.Random) -> Image:
    """Nothing but what was synced, names included."""
    return _image(tree.synced_folders, {path: file.synced for path, file in tree.synced_files.items()})


def mixed(tree: Tree, luck: random.Random) -> Image:
    """Names of each folder as on a strict disk or not, bytes of each file kept, dropped or torn, as luck has it."""
    folders = tree.folders | tree.synced_folders
    lost = {folder for folder in sorted(folders) if luck.random() < 0.5}
    names = {path: file for path, file in tree.files.items() if _folder_of(path) not in lost}
    names |= {path: file for path, file in tree.synced_files.items() if _folder_of(path) in lost}
    kept = {path for path in tree.folders if _folder_of(path) not in lost} | tree.synced_folders
    return _image(kept, {path: luck.choice((file.now, file.synced, file.torn())) for path, file in sorted(names.items())})


DISKS: dict[str, Callable[[Tree, random.Random], Image]] = {
    "keeps": keep,
    "drops": drop,
    "tears": tear,
    "strict": strict,
    "mixed": mixed,
}


def _image(folders: set[str], files: dict[str, bytes]) -> Image:
    """A name in a folder that isn't there is not there."""

    def is_there(path: str) -> bool:
        return not path or (path in folders and is_there(_folder_of(path)))

    there = {path for path in folders if path and is_there(path)}
    return dict.fromkeys(sorted(there)) | {path: data for path, data in files.items() if is_there(_folder_of(path))}


def _folder_of(path: str) -> str:
    return path.rpartition("/")[0]


def tree_of(box: Path) -> Tree:
    """A box as it lies there, all of it on the disk."""
    found = {str(path.relative_to(box)): path for path in box.rglob("*")}
    files = {name: File(data := path.read_bytes(), data) for name, path in found.items() if path.is_file()}
    return Tree(files, {"", *(name for name, path in found.items() if path.is_dir())})


# -- strace's log, read

CALL = re.compile(r"(\d+) +(\w+)\((.*)\) += (-?\d+)")
HALF = re.compile(r"(\d+) +(\w+)\((.*) <unfinished \.\.\.>$")
REST = re.compile(r"(\d+) +<\.\.\. (\w+) resumed>(.*)$")
TEXT = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')
OPENED = re.compile(r"(\d+)<((?:\\x[0-9a-f]{2})*)>")


def operations(calls: Sequence[str], box: Path) -> list[Operation]:
    """What a log that was made with OPTIONS says was done in the box, and when steps were acknowledged."""
    positions: dict[tuple[str, str], int] = {}
    found = [done for call in _whole(calls) for done in _operation(*call, f"{box}/", positions)]
    return [done for done in found if done.kind]


def _whole(calls: Sequence[str]) -> Iterator[tuple[str, str, int]]:
    """Name, arguments and result of each call that succeeded; those that another thread interrupted are put together."""
    begun: dict[str, str] = {}
    for line in calls:
        if half := HALF.match(line):
            begun[half[1]] = half[3]
            continue
        if rest := REST.match(line):
            line = f"{rest[1]} {rest[2]}({begun.pop(rest[1])}{rest[3]}"
        if (match := CALL.match(line)) and int(match[4]) >= 0:
            yield match[2], match[3], int(match[4])


def _operation(call: str, arguments: str, result: int, box: str, positions: dict[tuple[str, str], int]) -> Iterator[Operation]:
    opened = OPENED.match(arguments)
    descriptor, path = (opened[1], _text(opened[2])) if opened else ("", "")
    texts = [_text(text) for text in TEXT.findall(arguments)] if call not in ("write", "pwrite64", "read", "pread64") else []
    if call == SAYS and descriptor == "1":
        yield Operation("ack" if _bytes(arguments).startswith(b"OK ") else "")
        return
    inside = [text.removeprefix(box) for text in texts if text.startswith(box)]
    if not inside and not f"{path}/".startswith(box):
        return
    here = "" if f"{path}/" == box else path.removeprefix(box)
    match call:
        case "openat":
            positions[str(result), here or inside[0]] = 0
            if "O_CREAT" in arguments:
                yield Operation("create", inside[0])
            if "O_TRUNC" in arguments:
                yield Operation("truncate", inside[0])
        case "write" | "read":
            at = positions.get((descriptor, here), 0)
            positions[descriptor, here] = at + result
            if call == "write":
                yield Operation("write", here, _bytes(arguments)[:result], at)
        case "pwrite64":
            yield Operation("write", here, _bytes(arguments)[:result], int(arguments.rpartition(", ")[2]))
        case "ftruncate":
            yield Operation("truncate", here, at=int(arguments.rpartition(", ")[2]))
        case "fsync" | "fdatasync":
            yield Operation("sync", here)
        case "rename" | "renameat" | "renameat2":
            yield Operation("rename", inside[0], to=inside[1])
        case "unlink" | "unlinkat":
            yield Operation("rmdir" if "AT_REMOVEDIR" in arguments else "unlink", inside[0])
        case "mkdir" | "mkdirat" | "rmdir":
            yield Operation(call.removesuffix("at"), inside[0])
        case "ioctl" if "FICLONE" not in arguments:
            return
        case "pread64" | "close" | "fchmod" | "chmod" | "sync_file_range":
            return
        case _:
            raise AssertionError(f"the replay doesn't know what {call} does to a disk: {arguments[:200]}")


def _text(escaped: str) -> str:
    return bytes.fromhex(escaped.replace("\\x", "")).decode()


def _bytes(arguments: str) -> bytes:
    match = TEXT.search(arguments)
    assert match, arguments[:200]
    return bytes.fromhex(match[1].replace("\\x", ""))


# -- the replay


@dataclass(frozen=True, slots=True)
class Cut:
    """A state that power cuts leave: after how many acknowledged steps, on which disks, and where first."""

    image: Image
    acknowledged: int
    disks: tuple[str, ...]
    after: str


def cuts(bench: Bench, *, control: str = "", seed: int = 0, disks: Sequence[str] = tuple(DISKS)) -> list[Cut]:
    """Do the work once and give every distinct state in which a cut could have left the box."""
    traced = bench.perform(control=control, strace=OPTIONS)
    tree, luck, found, acknowledged = tree_of(bench.base), random.Random(seed), dict[str, Cut](), 0
    for number, done in enumerate([Operation("start"), *operations(traced.calls, bench.box)]):
        acknowledged += done.kind == "ack"
        tree.apply(done)
        for disk in disks:
            image = DISKS[disk](tree, luck)
            name = f"{acknowledged} {_hash(image)}"
            if name not in found:
                found[name] = Cut(image, acknowledged, (disk,), f"{done.kind} {done.path} (operation {number})")
            elif disk not in found[name].disks:
                before = found[name]
                found[name] = Cut(before.image, acknowledged, (*before.disks, disk), before.after)
    assert keep(tree, luck) == keep(tree_of(bench.box), luck), "the replay doesn't end where the work did"
    return list(found.values())


def _hash(image: Image) -> str:
    checksum = hashlib.sha256()
    for path, data in sorted(image.items()):
        checksum.update(f"{path} {data is None} {len(data or b'')}\n".encode() + (data or b""))
    return checksum.hexdigest()


def lay(image: Image, box: Path) -> None:
    """Make the box hold this image."""
    shutil.rmtree(box, ignore_errors=True)
    box.mkdir()
    for path, data in sorted(image.items(), key=lambda item: (item[1] is not None, item[0])):
        if data is None:
            (box / path).mkdir(parents=True, exist_ok=True)
        else:
            (box / path).write_bytes(data)


def restart(bench: Bench, reference: Reference, cut: Cut) -> list[str]:
    """Every promise that is broken when the machine comes up with this disk."""
    lay(cut.image, bench.box)
    _, broken = judge(bench, reference, cut.acknowledged)
    return [f"{bench.name}, cut after {cut.after}, disk that {'/'.join(cut.disks)}: {line}" for line in broken]
