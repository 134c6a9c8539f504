"""ifp git install: git is told once, what users wrote stays, and uninstall leaves no trace in the clone."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from checkout import configure, git

import ifpdb as ifp
from ifpdb.errors import NotFound, Refused, StorageError
from ifpdb.gitlink import setup
from ifpdb.gitlink.setup import COMMITTED, IGNORED, LFS, install, missing, uninstall

Make = Callable[..., ifp.Version]
IFP = str(Path(sys.executable).with_name("ifp"))


def attributes(path: str) -> dict[str, str]:
    words = git("check-attr", "-z", "--all", "--", path).split("\0")
    return dict(zip(words[1::3], words[2::3], strict=False))


def is_ignored(path: str) -> bool:
    return subprocess.run(["git", "check-ignore", "-q", "--", path]).returncode == 0


def everything(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Each file under a folder, with its bytes and mode; what git rewrites by itself aside."""
    files = (path for path in folder.rglob("*") if path.is_file() and "objects" not in path.parts)
    return {str(path): (path.read_bytes(), path.stat().st_mode) for path in files}


# -- the whole of it


def test_a_second_install_changes_no_byte_and_says_so(db: Path, folder: Path) -> None:
    first = install(db)
    assert {one.done for one in first.told} == {"written"}
    before = everything(folder)
    second = install(db)
    assert first.changed and not second.changed
    assert {one.done for one in second.told} == {"there"}
    assert everything(folder) == before


def test_what_is_written(db: Path, folder: Path) -> None:
    assert install(db).blobs == IGNORED
    assert (folder / ".gitattributes").read_text() == "ifp.db merge=ifp diff=ifp -text\n"
    assert (folder / ".gitignore").read_text() == "ifp.cas/\nifp.db-journal\n"
    assert git("config", "merge.ifp.driver") == f"{IFP} git merge-driver %O %A %B %P\n"
    assert git("config", "diff.ifp.textconv") == f"{IFP} git textconv\n"
    assert git("config", "diff.ifp.cachetextconv") == "true\n"
    for name in ("pre-commit", "pre-merge-commit", "commit-msg"):
        assert os.access(folder / ".git" / "hooks" / name, os.X_OK)
    assert missing(db) == ()


def test_uninstall_leaves_the_project_s_files_and_nothing_else(db: Path, folder: Path) -> None:
    before = everything(folder)
    git("config", "merge.ifp.recursive", "binary")
    install(db)
    assert {one.place: one.done for one in uninstall(db).told} == {
        ".gitattributes": "left",
        ".gitignore": "left",
        "merge and diff driver": "removed",
        "pre-commit hook": "removed",
        "pre-merge-commit hook": "removed",
        "commit-msg hook": "removed",
    }
    assert git("config", "--get-regexp", r"^(merge|diff)\.") == "merge.ifp.recursive binary\n"
    git("config", "--remove-section", "merge.ifp")
    after = everything(folder)
    assert {path for path in after if after[path] != before.get(path)} == {
        str(folder / ".gitattributes"),
        str(folder / ".gitignore"),
    }
    assert not uninstall(db).changed


def test_a_folder_that_git_does_not_know_is_told(registry: ifp.Registry, folder: Path) -> None:
    with pytest.raises(NotFound, match="in no git checkout"):
        install(registry.path)
    assert missing(registry.path) == ()
    git("init", "-q", "--bare", "bare.git")
    (folder / "bare.git" / "ifp.db").write_bytes(registry.path.read_bytes())
    with pytest.raises(NotFound, match="in no git checkout"):
        install(folder / "bare.git" / "ifp.db")
    git("init", "-q")
    with pytest.raises(NotFound, match="no registry at"):
        install(folder / "other.db")


def test_a_registry_in_a_subfolder_has_its_lines_beside_it(db: Path, folder: Path) -> None:
    install(db)
    (folder / "eu").mkdir()
    with ifp.init(folder / "eu" / "eu.db") as other:
        told = install(other.path)
    assert [one.done for one in told.told] == ["written", "written", "there", "there", "there", "there"]
    assert told.registry == "eu/eu.db"
    assert (folder / "eu" / ".gitattributes").read_text() == "eu.db merge=ifp diff=ifp -text\n"
    assert missing(folder / "eu" / "eu.db") == missing(db) == ()


def test_a_linked_worktree_and_a_submodule_are_clones_too(db: Path, folder: Path) -> None:
    git("add", "ifp.db")
    git("commit", "-qm", "first")
    git("worktree", "add", "-q", "-b", "side", "tree ü")
    install(folder / "tree ü" / "ifp.db")
    git("add", ".gitattributes", cwd=folder / "tree ü")
    git("init", "-q", "super")
    git("-c", "protocol.file.allow=always", "submodule", "add", "-q", str(folder), "sub", cwd=folder / "super")
    configure(folder / "super" / "sub")
    install(folder / "super" / "sub" / "ifp.db")
    for checkout in (folder / "tree ü", folder / "super" / "sub"):
        (checkout / "ifp.db").write_bytes(b"x" * 5000)
        assert "not a registry" in git("commit", "-am", "broken", fails=True, cwd=checkout)


def test_the_command_line_tells_and_prints_json(db: Path, cli: Callable[..., Any]) -> None:
    said = cli("git", "install")
    assert (said.code, said.out.splitlines()[0].split()) == (0, ["written", ".gitattributes"])
    assert "Commit .gitattributes" in said.err
    assert "nothing was changed" in cli("git", "install").err
    assert '"done": "there"' in cli("git", "install", "--json").out
    assert cli("git", "uninstall").out.splitlines()[0].split() == ["left", ".gitattributes"]
    assert "ifp git install" in cli("init").err


def test_a_file_that_can_not_be_written_is_named(db: Path, folder: Path) -> None:
    (folder / ".git" / "hooks").rename(folder / ".git" / "no hooks")
    (folder / ".git" / "hooks").write_text("")
    with pytest.raises(StorageError, match="hooks"):
        install(db)


# -- .gitattributes and .gitignore


@pytest.mark.parametrize(
    "name",
    ["a b.db", "#x.db", "!x.db", "[1]*?.db", 'q"q.db', '"q.db', "back\\slash.db", "ümlaut.db", "-x.db", " x.db", "x .db", "x"],
)
def test_a_name_is_taken_literally(db: Path, folder: Path, name: str) -> None:
    odd = folder / name
    shutil.copy(db, odd)
    install(odd)
    assert {"merge": "ifp", "diff": "ifp", "text": "unset"}.items() <= attributes(f"./{name}").items()
    assert not attributes("1z.db") and not attributes("back/slash.db")
    cas = setup.blob_folder(odd).name
    assert is_ignored(f"./{cas}/tmp/x") and is_ignored(f"./{name}-journal")
    assert not is_ignored(f"./{name}") and not is_ignored("1z.cas/x")
    assert not install(odd).changed
    install(odd, COMMITTED)
    assert is_ignored(f"./{cas}/tmp/x") and not is_ignored(f"./{cas}/sha256/00/00")
    assert attributes(f"./{cas}/sha256/00/00")["text"] == "unset"


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("last", [True, False], ids=["ended", "not ended"])
def test_the_lines_of_others_stay_as_they_are(db: Path, folder: Path, end: str, last: bool) -> None:
    before = (f"# mine{end}{end}  *.png binary{end}*.x y" + (end if last else "")).encode()
    for name in (".gitattributes", ".gitignore"):
        (folder / name).write_bytes(before)
    install(db)
    for name in (".gitattributes", ".gitignore"):
        after = (folder / name).read_bytes()
        assert after.startswith(before)
        assert after.count(b"\r") == after.count(b"\n") * (end == "\r\n")
    install(db, COMMITTED)
    assert (folder / ".gitattributes").read_bytes().startswith(before)
    assert not install(db).changed


@pytest.mark.parametrize(
    "line",
    ["*.db filter=lfs diff=lfs merge=lfs -text", "* text", "*.db ident", "*.db working-tree-encoding=UTF-16", "*.db -merge"],
)
def test_our_attributes_win_over_the_user_s_before_and_after(db: Path, folder: Path, line: str) -> None:
    file = folder / ".gitattributes"
    file.write_text(f"{line}\n")
    for text in (f"{line}\n", f"ifp.db merge=ifp diff=ifp -text\n{line}\n", f"{line}\nifp.db merge=ifp diff=ifp -text\n"):
        file.write_text(text)
        install(db)
        found = attributes("ifp.db")
        assert (found["merge"], found["diff"], found["text"]) == ("ifp", "ifp", "unset")
        for name in ("filter", "ident", "working-tree-encoding"):
            assert found.get(name, "unset") == "unset"
        assert file.read_text().count("merge=ifp") == 1
        assert line in file.read_text()
        assert not install(db).changed


@pytest.mark.parametrize("before", [None, b"*.png binary\n"])
def test_what_no_line_can_win_over_is_refused(db: Path, folder: Path, before: bytes | None) -> None:
    file = folder / ".gitattributes"
    if before is not None:
        file.write_bytes(before)
    (folder / ".git" / "info").mkdir(exist_ok=True)
    (folder / ".git" / "info" / "attributes").write_text("*.db filter=lfs\n")
    with pytest.raises(Refused, match=r"attribute filter is lfs for ifp\.db"):
        install(db)
    assert (file.read_bytes() if file.exists() else None) == before
    assert ("git-attributes" in dict(missing(db))) and not (folder / ".gitignore").exists()


def test_blobs_come_into_git_and_out_again(db: Path, make: Make, folder: Path) -> None:
    make("first")

    def staged() -> set[str]:
        git("reset", "-q")
        git("add", "ifp.cas", fails=is_ignored("ifp.cas/sha256/00/00"))
        return set(git("ls-files", "ifp.cas").splitlines())

    install(db)
    plain = {name: (folder / name).read_bytes() for name in (".gitattributes", ".gitignore")}
    assert staged() == set()
    install(db, COMMITTED)
    blobs = {path.relative_to(folder).as_posix() for path in (folder / "ifp.cas" / "sha256").rglob("*") if path.is_file()}
    assert staged() == blobs != set()
    assert install(db).blobs == COMMITTED, "what the project chose stays unless somebody says otherwise"
    assert install(db, IGNORED).changed
    assert {name: (folder / name).read_bytes() for name in plain} == plain
    assert staged() == set()


def test_lfs_has_to_be_there(db: Path, folder: Path) -> None:
    with pytest.raises(Refused, match="git lfs install"):
        install(db, LFS)
    assert not (folder / ".gitattributes").exists()


@pytest.mark.skipif(shutil.which("git-lfs") is None, reason="git-lfs is not installed")
def test_lfs_takes_the_blobs_and_never_the_registry(db: Path, make: Make, folder: Path) -> None:
    git("lfs", "install", "--local", "--skip-repo")
    (folder / ".gitattributes").write_text("*.db filter=lfs diff=lfs merge=lfs -text\n")
    version = make("first")
    install(db, LFS)
    git("add", "ifp.db", "ifp.cas")
    assert version.weights
    blob = version.weights.digest.removeprefix("sha256:")
    assert git("show", f":ifp.cas/sha256/{blob[:2]}/{blob[2:]}").startswith("version https://git-lfs")
    assert git("ls-files", "--stage", "ifp.db").split()[1] == git("hash-object", "--no-filters", "ifp.db").strip()
    assert install(db).blobs == LFS and not install(db).changed
