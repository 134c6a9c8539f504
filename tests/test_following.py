"""A followed log: each event once, in log order, whoever writes it, whatever becomes of the file."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

import ifpdb as ifp
from ifpdb import following
from ifpdb.merge.union import merge

Make = Callable[..., ifp.Version]
PATIENCE = 60
WRITER = """
import sys
import ifpdb as ifp
with ifp.open() as registry:
    for number in range(20):
        registry.model("fraud").tag("v1", f"{sys.argv[1]}-{number}")
"""
KILLED = """
import os, sqlite3
connection = sqlite3.connect("ifp.db", isolation_level=None)
connection.execute("PRAGMA cache_size = 1")
connection.execute("BEGIN IMMEDIATE")
connection.execute("CREATE TABLE filler (x)")
connection.executemany("INSERT INTO filler VALUES (?)", [("x" * 1000,)] * 1000)
os._exit(0)
"""


def tags(found: list[ifp.Event]) -> list[str]:
    return [tag for event in found for tag in event.detail.get("tags", ())]


def until(told: Iterator[ifp.Event], tag: str) -> list[str]:
    """The tags that are told, up to this one."""
    found = list[str]()
    while tag not in found:
        found += tags([next(told)])
    return found


def tag(registry: ifp.Registry, *names: str) -> None:
    for name in names:
        registry.model("fraud").tag("v1", name)


@pytest.fixture(autouse=True)
def bell() -> Iterator[None]:
    """Ends a test that waits for what never comes."""

    def ring(*_: object) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(PATIENCE)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def one(make: Make, registry: ifp.Registry) -> ifp.Registry:
    """A registry with fraud v1."""
    make("a")
    return registry


@pytest.fixture
def clone(one: ifp.Registry, folder: Path) -> Iterator[ifp.Registry]:
    """A colleague's copy of it."""
    (folder / "bob").mkdir()
    shutil.copy(one.path, folder / "bob" / "ifp.db")
    with ifp.open(folder / "bob" / "ifp.db", actor="bob") as opened:
        yield opened


@contextmanager
def follower(*arguments: str, folder: Path | None = None) -> Iterator[subprocess.Popen[str]]:
    """`ifp events --follow --json` in a process of its own, that answers Ctrl-C."""
    program = [str(Path(sys.executable).with_name("ifp")), "events", "--follow", "--json", *arguments]
    pipe = subprocess.PIPE
    process = subprocess.Popen(
        program,
        stdout=pipe,
        stderr=pipe,
        text=True,
        cwd=folder,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def lines(process: subprocess.Popen[str], count: int) -> list[dict[str, Any]]:
    assert process.stdout is not None
    return [json.loads(process.stdout.readline()) for _ in range(count)]


def test_without_since_it_begins_with_what_comes_after_the_call(one: ifp.Registry) -> None:
    tag(one, "before")
    told = one.follow()
    tag(one, "a", "b")
    assert until(told, "b") == ["a", "b"]


def test_it_begins_after_an_event_at_a_time_or_with_the_first(one: ifp.Registry) -> None:
    tag(one, "a", "b", "c")
    log = one.events()
    assert list(islice(one.follow("1970-01-01"), len(log))) == log
    assert until(one.follow(log[-2].id), "c") == ["c"]
    assert until(one.follow([log[-2].id[:19]]), "c") == ["c"]
    assert until(one.follow(log[-2].at), "c") == ["b", "c"]


def test_events_since_an_event_are_those_that_it_does_not_come_from(one: ifp.Registry, clone: ifp.Registry) -> None:
    tag(clone, "there")
    tag(one, "here")
    here = one.events()[-1].id
    merge(one, clone.path)
    tag(one, "both")
    there = one.events(kind="tagged")[0].id
    assert tags(one.events(since=here)) == ["there", "both"]
    assert tags(one.events(since=there)) == ["here", "both"]
    assert tags(one.events(since=[here, there])) == ["both"]


@pytest.mark.parametrize(
    ("since", "error"),
    [
        ("sha256:", ifp.UsageError),
        ("sha256:zzzzzzz", ifp.UsageError),
        ("sha256:" + "0" * 65, ifp.UsageError),
        ("sha256:0000000", ifp.NotFound),
        (["sha256:0000000", "2025-01-01"], ifp.UsageError),
        (["2025-01-01", "2025-01-02"], ifp.UsageError),
        ("soon", ifp.UsageError),
    ],
)
def test_a_beginning_that_is_none_is_told_at_once(one: ifp.Registry, since: str, error: type[ifp.IfpError]) -> None:
    with pytest.raises(error):
        one.follow(since)
    with pytest.raises(error):
        one.events(since=since)


def test_only_events_of_a_kind_or_model_are_told(one: ifp.Registry, make: Make) -> None:
    make("b", "churn")
    told = one.follow(model="churn", kind="tagged")
    make("c", "churn", tags=["x"])
    tag(one, "not-this")
    one.model("churn").tag("v1", "this")
    assert until(told, "this") == ["this"]
    with pytest.raises(ifp.NotFound, match="froud"):
        one.follow(model="froud")


def test_many_events_are_told_in_pages(one: ifp.Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "PAGE", 3)
    start = one.events()[-1].id
    tag(one, *(f"t{number}" for number in range(10)))
    told = one.follow(start)
    assert until(told, "t4") == [f"t{number}" for number in range(5)]
    tag(one, "later")
    assert until(told, "later") == [*(f"t{number}" for number in range(5, 10)), "later"]


def test_older_events_that_a_merge_brings_are_told_when_they_come(
    one: ifp.Registry, clone: ifp.Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "PAGE", 2)
    told = one.follow()
    tag(clone, "old-1", "old-2", "old-3")
    tag(one, "a", "b", "c")
    assert until(told, "b") == ["a", "b"], "and c waits on a page to come"
    merge(one, clone.path)
    tag(one, "d")
    assert sorted(until(told, "d")) == ["c", "d", "old-1", "old-2", "old-3"]
    tag(one, "e")
    assert until(told, "e") == ["e"]


def test_a_checkout_repeats_nothing_and_tells_what_is_new(one: ifp.Registry, folder: Path) -> None:
    def git(*words: str) -> None:
        subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=b", *words], check=True, capture_output=True, cwd=folder)

    git("init", "-q", "-b", "main")
    git("add", "ifp.db")
    git("commit", "-q", "-m", "one")
    told = one.follow("1970-01-01")
    for number in range(3):
        tag(one, f"main-{number}")
        git("commit", "-q", "-am", "more")
    assert until(told, "main-2") == ["main-0", "main-1", "main-2"]
    git("checkout", "-q", "-b", "side", "HEAD~2")
    tag(one, "side")
    git("commit", "-q", "-am", "side")
    assert until(told, "side") == ["side"], "an older revision, and a new event in it"
    git("checkout", "-q", "main~1")
    git("checkout", "-q", "main")
    tag(one, "main-3")
    assert until(told, "main-3") == ["main-3"], "back again"
    merge(one, subprocess.check_output(["git", "show", "side:ifp.db"], cwd=folder))
    tag(one, "merged")
    assert until(told, "merged") == ["merged"], "what the merge brought was told before"


def test_a_file_that_is_written_over_in_place_repeats_nothing(one: ifp.Registry, clone: ifp.Registry) -> None:
    told = one.follow()
    tag(one, "here")
    assert until(told, "here") == ["here"]
    tag(clone, "there")
    one.close()
    one.path.write_bytes(clone.path.read_bytes())
    assert until(told, "there") == ["there"]


def test_a_file_that_is_gone_for_a_moment_is_waited_for(one: ifp.Registry) -> None:
    tag(one, "a")
    aside = one.path.with_suffix(".aside")
    said = list[ifp.IfpError]()

    def come_back(error: ifp.IfpError) -> None:
        said.append(error)
        aside.rename(one.path)

    told = one.follow("1970-01-01", waiting=come_back)
    until(told, "a")
    tag(one, "b")
    one.path.rename(aside)
    assert until(told, "b") == ["b"]
    (why,) = said
    assert isinstance(why, ifp.NotFound)


@pytest.mark.parametrize(
    ("data", "error", "patience"),
    [(None, ifp.NotFound, "AWAY"), (b"x" * 200, ifp.IntegrityError, "STRANGE"), (b"", ifp.IntegrityError, "STRANGE")],
)
def test_a_file_that_is_gone_or_no_registry_for_good_is_an_error(
    one: ifp.Registry, monkeypatch: pytest.MonkeyPatch, data: bytes | None, error: type[ifp.IfpError], patience: str
) -> None:
    monkeypatch.setattr(following, patience, 0.2)
    told = one.follow()
    tag(one, "a")
    assert until(told, "a") == ["a"]
    one.close()
    one.path.unlink()
    if data is not None:
        one.path.write_bytes(data)
    with pytest.raises(error):
        next(told)


def test_between_looks_nothing_is_held(one: ifp.Registry) -> None:
    told = one.follow()
    tag(one, "a")
    until(told, "a")
    with one.writing() as (tx, _):
        assert tx.in_transaction
    one.close()
    connection = following.Database(one.path)
    with connection.write() as tx:
        tx.execute("PRAGMA locking_mode")
    connection.close()
    tag(one, "b")
    assert until(told, "b") == ["b"]


def test_a_follower_sees_the_events_of_three_processes_once_and_in_order(one: ifp.Registry, folder: Path) -> None:
    start = one.events()[-1].id
    with follower("--since", start) as process:
        writers = [subprocess.Popen([sys.executable, "-c", WRITER, name]) for name in ("x", "y", "z")]
        found = [event["id"] for event in lines(process, 60)]
        assert [writer.wait(PATIENCE) for writer in writers] == [0, 0, 0]
        tag(one, "last")
        assert lines(process, 1)[0]["detail"] == {"tags": ["last"]}
    assert found == [event.id for event in one.events(since=start)][:-1]


def test_a_follower_that_was_killed_goes_on_after_the_last_event_that_it_told(one: ifp.Registry) -> None:
    tag(one, "a", "b")
    with follower("--since", "1970-01-01") as process:
        told = lines(process, len(one.events()))
        process.kill()
    tag(one, "c", "d")
    with follower("--since", told[-1]["id"]) as process:
        assert [event["detail"]["tags"] for event in lines(process, 2)] == [["c"], ["d"]]


def test_a_forked_follower_goes_on_and_so_does_its_parent(one: ifp.Registry) -> None:
    told = one.follow()
    tag(one, "a")
    until(told, "a")
    read, write = os.pipe()
    if (child := os.fork()) == 0:
        try:
            os.write(write, ",".join(until(told, "c")).encode())
        finally:
            os._exit(0)
    os.close(write)
    tag(one, "b", "c")
    with open(read, encoding="utf-8") as pipe:
        assert pipe.read() == "b,c"
    os.waitpid(child, 0)
    assert until(told, "c") == ["b", "c"]


def test_a_registry_that_may_only_be_read_is_followed(one: ifp.Registry) -> None:
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        shutil.copy(one.path, place / "ifp.db")
        (place / "ifp.db").chmod(0o644)
        place.chmod(0o555)
        read, write = os.pipe()
        if (child := os.fork()) == 0:
            try:
                if os.geteuid() == 0:
                    os.setuid(65534)
                with ifp.open(place / "ifp.db") as registry:
                    told = registry.follow("1970-01-01")
                    os.write(write, b"%d\n" % len([next(told) for _ in registry.events()]))
                    os.write(write, ",".join(until(told, "a")).encode())
            finally:
                os._exit(0)
        os.close(write)
        with open(read, encoding="utf-8") as pipe:
            assert int(pipe.readline()) == len(one.events())
            place.chmod(0o755)
            with ifp.open(place / "ifp.db") as registry:
                tag(registry, "a")
            assert pipe.read() == "a"
        os.waitpid(child, 0)


def test_what_a_killed_writer_left_is_rolled_back_by_a_follower(one: ifp.Registry) -> None:
    journal = Path(f"{one.path}-journal")
    with follower() as process:
        assert process.stderr is not None
        process.stderr.readline()
        subprocess.run([sys.executable, "-c", KILLED], check=True)
        deadline = time.monotonic() + PATIENCE
        while journal.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        assert not journal.exists()
        tag(one, "a")
        assert lines(process, 1)[0]["detail"] == {"tags": ["a"]}


def test_ctrl_c_ends_it_and_so_does_a_reader_that_has_enough(one: ifp.Registry) -> None:
    with follower() as process:
        assert process.stderr is not None and process.stdout is not None
        assert process.stderr.readline().startswith("following from now on")
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == 130
        assert process.stderr.read().strip() == "ifp: stopped; the registry is as it was"
    with follower() as process:
        assert process.stderr is not None and process.stdout is not None
        process.stderr.readline()
        process.stdout.close()
        tag(one, "a")
        assert process.wait(PATIENCE) == 0
        assert process.stderr.read() == ""
        process.stdout = None


def test_a_line_of_text_is_one_event_and_steers_nothing(one: ifp.Registry, folder: Path) -> None:
    one.model("fraud").approve("v1", reason="fine\nforged line \x1b[2J")
    program = [str(Path(sys.executable).with_name("ifp")), "events", "--follow", "--since", one.events()[-2].id]
    with subprocess.Popen(program, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        process.kill()
    event = one.events()[-1]
    assert line.endswith(f"{event.id[:19]}  ada  approved fraud {event.version[:19]}: fine\\nforged line \\x1b[2J\n")


def test_csv_is_no_stream(cli: Callable[..., Any], one: ifp.Registry) -> None:
    said = cli("events", "--follow", "--csv")
    assert (said.code, said.out) == (2, "")
