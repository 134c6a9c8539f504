"""Who is told of what, once, from here only; what waits, and for how long."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from receiver import SECRET, hook, listening, why

import ifpdb as ifp
from ifpdb.merge import union
from ifpdb.outbox import carriers, delivery, letters

Make = Callable[..., ifp.Version]


def test_a_refusal_a_promotion_and_a_rollback_are_told_each_to_its_own(
    registry: ifp.Registry, refused: Any, make: Make, configure: Any
) -> None:
    with listening() as ci:
        names = ("fail", "in", "back")
        configure("".join(f'[hook.{n}]\nurl = "{ci.url.replace("told", n)}"\nsecret = "{SECRET}"\n' for n in names))
        refused("hook:fail", notify_on_promote="hook:in", notify_on_rollback="hook:back")
        fraud = registry.model("fraud")
        make("good", metrics={"f1": 0.95})
        fraud.promote("latest", "shadow")
        fraud.promote("latest", "production")
        make("better", metrics={"f1": 0.96})
        fraud.promote("latest", "production")
        fraud.rollback(reason="worse")
        assert len(delivery.deliver(registry).delivered) == 4
    told = [(path.split("?")[0], json.loads(body)["kind"]) for path, _, body in ci.requests]
    assert sorted(told) == [
        ("/back", "rolled_back"), ("/fail", "promotion_refused"), ("/in", "promoted"), ("/in", "promoted")
    ]  # fmt: skip
    assert not delivery.look(registry).waiting


def test_where_nobody_listens_the_letters_wait_longer_and_longer_and_then_rest(
    registry: ifp.Registry, refused: Any, configure: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with listening() as gone:
        configure(hook(gone.url))
    refused("hook:ci")
    monkeypatch.setattr(delivery.random, "uniform", lambda _, high: high)
    pauses, now = [], time.time()
    for _ in range(4):
        assert "can't be reached" in why(registry)
        (letter,) = delivery.look(registry).waiting
        assert letter.due is not None
        pauses.append(round(letter.due - now, -1))
    assert pauses == sorted(set(pauses))
    assert letter.attempts == 4
    monkeypatch.setattr(delivery, "GIVEN_UP", -1)
    assert "rests after 7 days" in why(registry)
    assert delivery.look(registry).as_dict()["waiting"][0]["due"] is None
    assert not delivery.deliver(registry, due_only=True).delivered
    with listening() as back:
        configure(hook(back.url))
        assert len(delivery.deliver(registry).delivered) == 1


def test_an_unreachable_target_is_tried_once_for_all_its_letters(
    registry: ifp.Registry, refused: Any, configure: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with listening() as gone:
        configure(hook(gone.url))
    for _ in range(3):
        refused("hook:ci")
    tried, real = [], carriers.carry
    monkeypatch.setattr(carriers, "carry", lambda *all: (tried.append(1), real(*all)))
    assert len(delivery.deliver(registry).waiting) == 3
    assert len(tried) == 1


def test_a_copy_a_merge_and_another_machine_send_nothing(
    registry: ifp.Registry, refused: Any, configure: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with listening() as ci:
        configure(hook(ci.url))
        refused("hook:ci")
        (folder / "copy").mkdir()
        shutil.copy("ifp.db", "copy/ifp.db")
        shutil.copytree("ifp.cas", "copy/ifp.cas")
        with ifp.open("copy/ifp.db") as copy:
            done = delivery.deliver(copy)
            assert not done.delivered
            assert "of which this is a copy" in done.waiting[0].why
        with ifp.init(folder / "new.db") as other:
            union.merge(other, folder / "ifp.db")
            assert other.events(kind="promotion_refused")
            assert not delivery.look(other).waiting
        with monkeypatch.context() as patch:
            patch.setattr(letters, "machine", lambda: "elsewhere 0")
            patch.setattr(delivery, "machine", lambda: "elsewhere 0")
            done = delivery.deliver(registry)
            assert not done.delivered
            assert "which sends it; this is elsewhere" in done.waiting[0].why
        assert not ci.requests
        assert len(delivery.deliver(registry).delivered) == 1
        assert len(delivery.deliver(registry).delivered) == 0
    assert len(ci.requests) == 1


def test_a_transaction_that_fails_leaves_no_letter(registry: ifp.Registry, refused: Any, make: Make) -> None:
    refused("hook:ci", notify_on_promote="hook:ci")
    before = delivery.look(registry).waiting
    make("good", metrics={"f1": 0.99})
    registry._db._check_in_place = lambda: (_ for _ in ()).throw(ifp.Conflict("the file is another"))  # type: ignore[method-assign]
    with pytest.raises(ifp.Conflict):
        registry.model("fraud").promote("latest", "production")
    assert delivery.look(registry).waiting == before


def test_a_letter_whose_event_never_came_is_kept_for_an_hour_and_dropped(
    registry: ifp.Registry, refused: Any, configure: Any
) -> None:
    refused("hook:ci")
    box = delivery.box_of(registry)
    (real,) = box.waiting()
    box.drop([real])
    orphan = letters.Letter("sha256:" + "0" * 64, "hook:ci", real.machine, real.registry, time.time(), real.due)
    box.put([orphan])
    (kept,) = delivery.deliver(registry).waiting
    assert kept.event == orphan.event
    box.drop([kept])
    box.put([letters.Letter(orphan.event, "hook:ci", real.machine, real.registry, time.time() - 3601, real.due)])
    assert not delivery.deliver(registry).waiting


def test_files_that_are_no_letters_are_passed_over(registry: ifp.Registry, refused: Any) -> None:
    refused("hook:ci")
    box = delivery.box_of(registry)
    folder, (letter,) = box.folder, box.waiting()
    for name, text in (("x.json", "{}"), ("y.json", "[1"), ("20200101T000000Z-0.json", '{"event": 1}')):
        (folder / name).write_text(text)
    assert len(delivery.look(registry).waiting) == 1
    (folder / "z.json").mkdir()
    for wrong in ({"since": "x"}, {"since": 1e300}, {"event": "none"}, {"registry": 7}):
        (folder / letter.name).write_text(json.dumps(asdict(letter) | wrong))
        assert not delivery.look(registry).waiting
    (folder / letter.name).write_text(json.dumps(asdict(letter)))
    assert len(delivery.look(registry).waiting) == 1


def test_gc_fsck_and_backup_leave_letters_alone(
    registry: ifp.Registry, refused: Any, cli: Callable[..., Any], folder: Path
) -> None:
    refused("hook:ci")
    assert cli("fsck").code == 0
    assert cli("gc", "--yes", "--grace", "0").code == 0
    assert cli("backup", "elsewhere").code == 0
    assert len(delivery.look(registry).waiting) == 1
    assert not list((folder / "elsewhere").rglob("outbox"))


def test_where_no_letter_can_be_written_the_promotion_goes_on_and_says_so(
    registry: ifp.Registry, refused: Any, make: Make, folder: Path
) -> None:
    (folder / "ifp.cas").mkdir(exist_ok=True)
    (folder / "ifp.cas" / "outbox").write_text("in the way")
    with pytest.warns(UserWarning, match="nobody will be notified"):
        refused("hook:ci")
    assert registry.events(kind="promotion_refused")


@pytest.mark.parametrize("key", ["notify_on_fail", "notify_on_promote", "notify_on_rollback"])
def test_a_policy_names_targets_only(key: str) -> None:
    from ifpdb import policy, policyfile

    found = policyfile.from_mapping({"validation": {"min_f1": 0.9, key: ["slack:#x", "exec:y"]}})
    assert getattr(found, key) == ("slack:#x", "exec:y")
    assert policy.from_event(found.as_dict()) == found
    with pytest.raises(ifp.UsageError, match=f"validation.{key}: 'https://x' is not slack:#channel"):
        policyfile.from_mapping({"validation": {key: "https://x"}})


def test_only_letters_of_this_place_wake_a_process(registry: ifp.Registry, refused: Any, folder: Path) -> None:
    refused("hook:ci")
    box, now = delivery.box_of(registry), time.time()
    (letter,) = box.waiting()
    assert box.has_due(now)
    assert not box.has_due(now - 60)
    assert not letters.Box(box.folder.parent, folder / "copy.db").has_due(now)
    (box.folder / "20200101T000000Z-0.json").write_text("")
    box.postpone(letter, due=None, why="", attempts=1)
    assert not box.has_due(4e9)


def test_letters_of_one_second_go_out_in_the_order_of_the_log(registry: ifp.Registry, refused: Any, configure: Any) -> None:
    with listening() as ci:
        configure(hook(ci.url))
        for _ in range(6):
            refused("hook:ci")
        assert len(delivery.deliver(registry).delivered) == 6
    assert [event["id"] for event in ci.told] == [event.id for event in registry.events(kind="promotion_refused")]
