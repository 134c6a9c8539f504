"""Trees: what a folder's listing holds, what it refuses, and files that won't keep still while they are read."""

from __future__ import annotations

import hashlib
import json
import os
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ifpdb import digest, tree
from ifpdb.errors import Conflict, IntegrityError, UsageError

NOBODY = 65534
SOME_DIGEST = "sha256:" + "a" * 64


@contextmanager
def without_privileges() -> Iterator[None]:
    """Root may read everything; nobody else may."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if user == 0:
            os.seteuid(user)


def put(folder: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def test_a_file_is_known_by_its_bytes_whatever_its_name(folder: Path) -> None:
    put(folder, {"a": b"weights", "b": b"weights"})
    expected = ("sha256:" + hashlib.sha256(b"weights").hexdigest(), 7, "file")
    assert tree.hash_path(folder / "a") == tree.hash_path(folder / "b") == expected


def test_an_empty_file_has_the_digest_of_nothing(folder: Path) -> None:
    assert tree.hash_path(put(folder, {"a": b""}) / "a") == (digest.sha256(b""), 0, "file")


def test_a_listing_is_sorted_relative_and_in_posix_form(folder: Path) -> None:
    put(folder, {"b/c": b"2", "b.txt": b"3", "a": b"1"})
    (folder / "empty").mkdir()
    assert [name for name, _ in tree.walk(folder)] == ["a", "b.txt", "b/c"]


def test_a_folders_digest_is_that_of_its_listing(folder: Path) -> None:
    put(folder, {"a": b"1", "b/c": b"22"})
    listing = json.dumps(
        [[n, False, len(d), digest.sha256(d)] for n, d in (("a", b"1"), ("b/c", b"22"))], separators=(",", ":")
    )
    assert tree.hash_path(folder) == (digest.sha256(listing.encode()), 3, "tree")


@pytest.mark.parametrize("change", ["bytes", "name", "x-bit", "new file"])
def test_a_folders_digest_changes_with(folder: Path, change: str) -> None:
    model = put(folder / "model", {"a": b"1", "b": b"2"})
    before = tree.hash_path(model)[0]
    match change:
        case "bytes":
            (model / "a").write_bytes(b"3")
        case "name":
            (model / "a").rename(model / "c")
        case "x-bit":
            (model / "a").chmod(0o755)
        case "new file":
            (model / "c").touch()
    assert tree.hash_path(model)[0] != before


def test_a_folders_digest_ignores_times_other_modes_and_empty_folders(folder: Path) -> None:
    model = put(folder / "model", {"a": b"1"})
    before = tree.hash_path(model)[0]
    os.utime(model / "a", (1, 1))
    (model / "a").chmod(0o600)
    (model / "empty").mkdir()
    assert tree.hash_path(model)[0] == before


@pytest.mark.parametrize("name", ["é", "é/x"])
def test_both_unicode_forms_of_a_name_give_one_digest(folder: Path, name: str) -> None:
    composed = put(folder / "1", {unicodedata.normalize("NFC", name): b"x"})
    decomposed = put(folder / "2", {unicodedata.normalize("NFD", name): b"x"})
    assert tree.hash_path(composed) == tree.hash_path(decomposed)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("A", "a"),
        ("A/x", "a/y"),
        ("deep/A/x", "deep/a/y"),
        ("straße", "STRASSE"),
        ("\u00e9", "e\u0301"),
        ("\u00e9/x", "e\u0301/y"),
    ],
)
def test_two_names_that_are_one_elsewhere_are_refused(folder: Path, first: str, second: str) -> None:
    put(folder, {first: b"1", second: b"2"})
    with pytest.raises(UsageError, match="one name on other systems"):
        tree.hash_path(folder)


@pytest.mark.parametrize("name", ["a\\b", "C:", "c:x"])
def test_a_name_that_means_something_else_elsewhere_is_refused(folder: Path, name: str) -> None:
    put(folder, {name: b"1"})
    with pytest.raises(UsageError, match="means something else"):
        tree.hash_path(folder)


def test_a_name_that_is_not_utf8_is_refused(folder: Path) -> None:
    with open(os.fsencode(folder) + b"/\xff", "wb"):
        pass
    with pytest.raises(UsageError, match="not UTF-8"):
        tree.hash_path(folder)


@pytest.mark.parametrize("target", ["a", "nowhere", ".", ".."])
def test_a_symbolic_link_in_a_folder_is_refused(folder: Path, target: str) -> None:
    put(folder, {"a": b"1"})
    (folder / "link").symlink_to(target)
    with pytest.raises(UsageError, match="symbolic link"):
        tree.hash_path(folder)


def test_a_link_that_is_named_outright_is_followed(folder: Path) -> None:
    put(folder, {"a": b"1", "b/c": b"2"})
    (folder / "link").symlink_to("a")
    (folder / "link-to-folder").symlink_to("b")
    assert tree.hash_path(folder / "link") == tree.hash_path(folder / "a")
    assert tree.hash_path(folder / "link-to-folder") == tree.hash_path(folder / "b")


@pytest.mark.parametrize("path", ["missing", "missing/deeper", "a/b", "x" * 300, "nul\0", "loop"])
def test_a_path_with_nothing_behind_it_is_refused(folder: Path, path: str) -> None:
    put(folder, {"a": b"1"})
    (folder / "loop").symlink_to("loop")
    with pytest.raises(UsageError, match=r"there is no file|can't be read"):
        tree.hash_path(folder / path)


@pytest.mark.parametrize("where", ["named outright", "in a folder"])
def test_a_fifo_is_refused_and_nobody_waits_for_its_writer(folder: Path, where: str) -> None:
    os.mkfifo(folder / "pipe")
    with pytest.raises(UsageError, match="neither a file nor a folder"):
        tree.hash_path(folder if where == "in a folder" else folder / "pipe")


@pytest.mark.parametrize("path", ["secret", "vault", "whole"])
def test_what_may_not_be_read_is_refused(folder: Path, path: str) -> None:
    put(folder, {"secret": b"1", "vault/a": b"1", "whole/vault/a": b"1"})
    folder.chmod(0o755)
    for hidden in ("secret", "vault", "whole/vault"):
        (folder / hidden).chmod(0)
    try:
        with without_privileges(), pytest.raises(UsageError, match="can't be read: Permission denied"):
            tree.hash_path(Path(path))
    finally:
        for hidden in ("vault", "whole/vault"):
            (folder / hidden).chmod(0o755)


def append(path: Path) -> None:
    with open(path, "ab") as file:
        file.write(b"more")


def truncate(path: Path) -> None:
    os.truncate(path, 10)


def overwrite(path: Path) -> None:
    with open(path, "r+b") as file:
        file.write(b"other")


@pytest.mark.parametrize("change", [append, truncate, overwrite])
def test_a_file_that_changes_while_it_is_read_is_refused(folder: Path, change: Callable[[Path], None]) -> None:
    path = folder / "growing"
    path.write_bytes(bytes(3 * tree.CHUNK))
    os.utime(path, (1, 1))
    changed = False

    def use(chunk: memoryview) -> None:
        nonlocal changed
        if not changed:
            change(path)
            changed = True

    with pytest.raises(Conflict, match="changed while it was read"):
        tree.read_steadily(path, use)
    assert changed


def test_a_file_that_is_replaced_while_it_is_read_is_read_as_it_was(folder: Path) -> None:
    put(folder, {"a": b"old", "b": b"new"})
    read = bytearray()

    def use(chunk: memoryview) -> None:
        os.replace(folder / "b", folder / "a")
        read.extend(chunk)

    tree.read_steadily(folder / "a", use)
    assert read == b"old"


@pytest.mark.parametrize("size", [0, 1, tree.CHUNK - 1, tree.CHUNK, tree.CHUNK + 1, 3 * tree.CHUNK])
@pytest.mark.parametrize("buffers", [1, 3])
def test_every_byte_is_read_once_and_in_order(folder: Path, size: int, buffers: int) -> None:
    data = (bytes(range(256)) * (size // 256 + 1))[:size]
    read = bytearray()
    with tree.steady(put(folder, {"a": data}) / "a") as source:
        source.read(read.extend, buffers=buffers)
    assert read == data
    assert source.status.st_size == size


def test_what_the_reader_raises_comes_through(folder: Path) -> None:
    def full(chunk: memoryview) -> None:
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="disk is full"):
        tree.read_steadily(put(folder, {"a": b"1"}) / "a", full)


ENTRIES = st.dictionaries(
    st.from_regex(r"[a-z]{1,3}(/[a-z]{1,3}){0,2}", fullmatch=True), st.tuples(st.booleans(), st.integers(0, 2**50)), max_size=6
)


@given(ENTRIES)
def test_a_listing_is_read_back(files: dict[str, tuple[bool, int]]) -> None:
    entries = [tree.Entry(path, executable, size, SOME_DIGEST) for path, (executable, size) in sorted(files.items())]
    assert tree.load(tree.dump(entries)) == entries


@pytest.mark.parametrize(
    "rows",
    [
        [["../etc/passwd", False, 1, SOME_DIGEST]],
        [["/etc/passwd", False, 1, SOME_DIGEST]],
        [["a/./b", False, 1, SOME_DIGEST]],
        [["a//b", False, 1, SOME_DIGEST]],
        [["a\\b", False, 1, SOME_DIGEST]],
        [["c:/b", False, 1, SOME_DIGEST]],
        [["", False, 1, SOME_DIGEST]],
        [["e\u0301", False, 1, SOME_DIGEST]],
        [["b", False, 1, SOME_DIGEST], ["a", False, 1, SOME_DIGEST]],
        [["a", False, 1, SOME_DIGEST], ["a", False, 1, SOME_DIGEST]],
        [["A", False, 1, SOME_DIGEST], ["a", False, 1, SOME_DIGEST]],
        [["A/x", False, 1, SOME_DIGEST], ["a/y", False, 1, SOME_DIGEST]],
        [["a", 0, 1, SOME_DIGEST]],
        [["a", False, -1, SOME_DIGEST]],
        [["a", False, True, SOME_DIGEST]],
        [["a", False, 1, "sha256:" + "A" * 64]],
        [["a", False, 1, "a" * 64]],
        [["a", False, 1, "sha256:../../x"]],
        [["a", False, 1, None]],
        [["a", False, 1]],
        [None],
        {"a": 1},
        7,
    ],
    ids=repr,
)
def test_a_crafted_listing_is_refused(rows: object) -> None:
    with pytest.raises(IntegrityError, match="not the listing"):
        tree.load(json.dumps(rows, separators=(",", ":"), ensure_ascii=False).encode())


@pytest.mark.parametrize("listing", [b"", b"\xff", b"[[", b"[" * 100_000, b"[ ]", b'[["a",false,1,"x"]]\n'])
def test_bytes_that_are_no_listing_are_refused(listing: bytes) -> None:
    with pytest.raises(IntegrityError, match="not the listing"):
        tree.load(listing)


@given(st.binary(max_size=60))
def test_any_bytes_are_a_listing_or_an_integrity_error(listing: bytes) -> None:
    with suppress(IntegrityError):
        assert tree.dump(tree.load(listing)) == listing
