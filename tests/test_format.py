"""docs/format.md is true: its golden vectors are computed anew, through ifpdb and with the standard library alone, and its
kinds of events are the ones that the code writes. (Its JSON keys: cli/test_cli_format.py.)"""

from __future__ import annotations

import ast
import hashlib
import json
import math
import re
import shutil
import sqlite3
import struct
import unicodedata
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import xxhash

import ifpdb as ifp
from ifpdb import digest, tree
from ifpdb.capture.schema.features import read_schema, schema_body
from ifpdb.ledger import events
from ifpdb.merge.union import merge
from ifpdb.store import live, series

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "format.md").read_text(encoding="utf-8")
VECTORS = {name: json.loads(text) for name, text in re.findall(r"^```json vector ([\w-]+)\n(.*?)^```$", PAGE, re.M | re.S)}


def table(heading: str) -> list[list[str]]:
    """The rows of the page's table that has this heading line."""
    _, _, rest = PAGE.partition(f"{heading}\n")
    assert rest, heading
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in rest.partition("\n\n")[0].splitlines()[1:]]


def words(cell: str) -> list[str]:
    """What stands in backticks."""
    return re.findall(r"`([^`]+)`", cell)


def sha256(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def plain(value: Any) -> bytes:
    """Canonical JSON as far as the standard library gets: enough for documents with simple keys and numbers."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return re.sub(r"(?<=[\[,:])(-?\d+)\.0(?=[\],}])", r"\1", text).encode()


def number(value: float | str) -> float:
    return float(value.replace("Infinity", "inf")) if isinstance(value, str) else value


def test_the_page_has_every_vector() -> None:
    documents = {"tree", "manifest", "manifest-partial", "schema", "environment", "code", "events"}
    tables = {"table", "table-sparse", "table-prefixes", "table-csv"}
    assert set(VECTORS) == documents | tables | {"blob", "canonical", "numbers", "series", "live"}


# -- bytes


def test_canonical_json_is_the_one_of_rfc_8785() -> None:
    vector = VECTORS["canonical"]
    assert digest.canonical(vector["value"]).decode() == vector["canonical"]
    keys = [key for key in json.loads(vector["canonical"]) if len(key) == 1]
    assert keys == sorted(keys, key=lambda key: key.encode("utf-16-be"))
    assert keys != sorted(keys), "the vector tells UTF-16 order from code point order"


def test_numbers_that_json_lacks_are_strings() -> None:
    for text, expected in VECTORS["numbers"].items():
        assert digest.number_to_json(float(text)) == expected
        assert repr(number(expected)) == repr(float(text))


def test_a_blob_lies_under_its_digest(folder: Path) -> None:
    vector = VECTORS["blob"]
    data = vector["text"].encode()
    name = hashlib.sha256(data).hexdigest()
    assert vector["path"] == f"ifp.cas/sha256/{name[:2]}/{name[2:]}"
    assert xxhash.xxh3_128(data, seed=0).digest() == bytes.fromhex(vector["xxh3"])
    with ifp.init() as registry:
        kept = registry.blobs.put_bytes(data, name="model", format="bytes")
    assert kept.digest == vector["digest"] == sha256(data)
    assert kept.blobs[0].xxh3 == vector["xxh3"]
    path = folder / vector["path"]
    assert path.read_bytes() == data
    assert path.stat().st_mode & 0o777 == 0o444


def test_a_tree_is_its_listing(folder: Path) -> None:
    vector = VECTORS["tree"]
    for file in vector["files"]:
        path = folder / "saved" / file["path"]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(file["text"].encode())
        path.chmod(0o755 if file["executable"] else 0o644)
    assert tree.hash_path(folder / "saved") == (vector["digest"], sum(len(f["text"].encode()) for f in vector["files"]), "tree")
    with ifp.init() as registry:
        kept = registry.blobs.put_path(folder / "saved", name="model", format="bytes")
        assert registry.blobs.read(kept.digest).decode() == vector["listing"]
    rows = [
        [unicodedata.normalize("NFC", f["path"]), f["executable"], len(f["text"].encode()), sha256(f["text"].encode())]
        for f in vector["files"]
    ]
    assert plain(sorted(rows)).decode() == vector["listing"]
    assert sha256(vector["listing"].encode()) == vector["digest"]


# -- versions


def test_a_schema_is_its_body() -> None:
    vector = VECTORS["schema"]
    found = read_schema(vector["schema"])
    assert schema_body(found.features).decode() == vector["body"] == plain(vector["schema"]).decode()
    assert found.digest == vector["digest"] == sha256(vector["body"].encode())


def test_an_environment_is_its_body() -> None:
    vector = VECTORS["environment"]
    assert digest.canonical(vector["environment"]).decode() == vector["body"] == plain(vector["environment"]).decode()
    assert sha256(vector["body"].encode()) == vector["digest"]


def test_code_is_its_body() -> None:
    vector = VECTORS["code"]
    files = [[file["path"], sha256(file["text"].encode())] for file in vector["files"]]
    assert plain(files).decode() == vector["body"] == digest.code_body(tuple((path, name) for path, name in files)).decode()
    assert sha256(vector["body"].encode()) == vector["digest"]


@pytest.mark.parametrize("name", ["manifest", "manifest-partial"])
def test_a_manifest_names_the_four_parts(name: str) -> None:
    vector = VECTORS[name]
    training = digest.training_record(**vector["training"])
    data = [(d["role"], d["digest"], d["uri"]) for d in vector["data"]]
    document = digest.manifest(weights=vector["weights"], data=data, schema=vector["schema"], training=training)
    assert digest.canonical(document).decode() == vector["manifest"]
    assert list(digest.missing_parts(document)) == vector["missing"]


@pytest.mark.parametrize("name", ["manifest", "manifest-partial"])
def test_a_manifest_can_be_made_from_the_page_alone(name: str) -> None:
    vector = VECTORS[name]
    given, seed = vector["training"], vector["training"]["seed"]
    used = [d for d in vector["data"] if d["role"] not in ("test", "holdout")]
    used.sort(key=lambda d: (d["role"], d["digest"] or "", d["uri"] or ""))
    document = {
        "type": "ifp-version/1",
        "weights": vector["weights"],
        "data": [
            {"role": d["role"], "digest": d["digest"]} if d["digest"] else {"role": d["role"], "uri": d["uri"]} for d in used
        ]
        or None,
        "schema": vector["schema"],
        "training": {
            "params": [[key, value] for key, value in sorted((given["params"] or {}).items())],
            "packages": [[key, value] for key, value in sorted((given["packages"] or {}).items())],
            "seed": str(seed) if abs(seed) > 2**53 - 1 else seed,
            "code": given["code"],
        },
    }
    assert plain(document).decode() == vector["manifest"]
    assert sha256(vector["manifest"].encode()) == vector["digest"]
    assert [part for part in ("weights", "data", "schema", "training") if document[part] is None] == vector["missing"]


def test_a_registered_version_has_its_digest_from_the_manifest_stored_with_it(make: Callable[..., ifp.Version]) -> None:
    version = make("weights", metrics={"f1": 0.9}, tags=["q1"])
    assert sha256(version.manifest.encode()) == version.digest
    assert json.loads(version.manifest)["weights"] == sha256(b"weights")


# -- events


def test_events_are_hashed_with_their_parents(registry: ifp.Registry) -> None:
    vector = VECTORS["events"]
    by = events.Author(vector["actor"], vector["now"])
    with registry._db.write() as tx:
        for expected in vector["events"]:
            told = json.loads(expected["body"])
            written = events.append(tx, by, told["kind"], model=told["model"], run=told["run"], detail=told["detail"])
            assert written.id == expected["id"]
        assert tx.execute("SELECT body FROM event ORDER BY key").fetchall() == [(e["body"],) for e in vector["events"]]
        assert events.heads(tx) == [vector["events"][-1]["id"]]


def test_an_event_can_be_checked_from_the_page_alone() -> None:
    first, second = VECTORS["events"]["events"]
    for event in (first, second):
        assert sha256(event["body"].encode()) == event["id"]
        assert plain(json.loads(event["body"])).decode() == event["body"]
    assert json.loads(first["body"])["parents"] == []
    assert json.loads(second["body"])["parents"] == [first["id"]]
    assert json.loads(second["body"])["at"] > json.loads(first["body"])["at"]


KINDS = {words(kind)[0]: (bool(moves), words(detail)) for kind, moves, detail in table("| kind | moves | detail |")}


def kinds_in_the_code() -> set[str]:
    """The kind that each call of events.append, stages.move and model._retag gives; what a caller passes on is skipped."""
    found = set()
    for path in (ROOT / "ifpdb").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                place = {"append": 2, "move": 3, "_retag": 2}.get(node.func.attr)
                if place is not None and len(node.args) > place and isinstance(node.args[place], ast.Constant):
                    found.add(node.args[place].value)
    return found


@pytest.fixture
def eventful(registry: ifp.Registry, make: Callable[..., ifp.Version], folder: Path) -> list[ifp.Event]:
    """The log of a registry in which everything has happened that can happen."""
    fraud = registry.model("fraud")
    with pytest.raises(ZeroDivisionError), ifp.track("fraud", data="train.csv", params={"C": 1.0}, seed=7) as run:
        run.log_artifact("train.csv", name="sample")
        run.log_metric("f1", math.nan)
        raise ZeroDivisionError("for the log")
    make("a", metrics={"f1": 0.91}, tags=["q1"], labels=["first"], derived_from=run.id)
    fraud.approve("v1")  # where there is no policy
    make("b", metrics={"f1": 0.5})
    make("b", metrics={"f1": 0.5})
    registry.measure("fraud@v2", {"auc": math.inf})
    registry.link("fraud@v2", "fraud@v1", "fine_tuned_from")
    fraud.set_policy({"validation": {"min_f1": 0.9}})
    fraud.approve("v1")
    fraud.approve("v2")
    fraud.withdraw_approval("v2")
    fraud.promote("v1", "production")
    with pytest.raises(ifp.GateFailed):
        fraud.promote("v2", "production")
    fraud.promote("v2", "production", force=True, reason="drill")
    fraud.rollback(reason="the drill is over")
    fraud.promote("v2", "shadow")
    fraud.tag("v2", "x")
    fraud.untag("v2", "x")
    fraud.label("v2", "first")
    fraud.deployed("v1", "prod-eu", replaces="v2")
    fraud.deployed("v1", "prod-eu", at="now", stopped=True)
    fraud.set_policy({"validation": {"min_f1": 0.9, "promote_on_pass": "production"}})
    make("c", metrics={"f1": 0.99})
    shutil.copy("ifp.db", "other.db")
    with ifp.open("other.db") as other:
        for name, opened, bound in (("v1", registry, 0.8), ("v2", other, 0.7)):
            opened.model("fraud").rollback(to=name, reason="two people")
            opened.model("fraud").label(name, "best")
            opened.model("fraud").set_policy({"validation": {"min_f1": bound}})
        merge(registry, Path("other.db"), prefer=["ours"])
    return registry.events()


def test_the_page_lists_every_kind_that_the_code_writes() -> None:
    assert kinds_in_the_code() == set(KINDS)


def test_every_kind_of_event_has_the_detail_that_the_page_says(eventful: list[ifp.Event]) -> None:
    assert {event.kind for event in eventful} == set(KINDS)
    seen: dict[str, set[str]] = {}
    for event in eventful:
        _, keys = KINDS[event.kind]
        always, perhaps = {k for k in keys if not k.endswith("?")}, {k.removesuffix("?") for k in keys}
        assert always <= event.detail.keys() <= perhaps, event.kind
        seen.setdefault(event.kind, set()).update(event.detail)
    for kind, (_, keys) in KINDS.items():
        assert seen[kind] == {key.removesuffix("?") for key in keys}, "each optional key was seen at least once"


def test_only_the_kinds_that_move_have_a_stage(eventful: list[ifp.Event]) -> None:
    moving = {event.kind for event in eventful if event.to_stage}
    assert moving == {kind for kind, (moves, _) in KINDS.items() if moves}


def test_every_key_of_detail_is_explained(eventful: list[ifp.Event]) -> None:
    explained = {key for row in table("| key of detail | value |") for key in words(row[0])}
    plain_words = {"weights", "schema", "name", "status", "environment", "label", "parent"}  # digests, names, ids
    used = {key for event in eventful for key in event.detail}
    assert explained <= used
    assert used - explained == plain_words


def test_a_body_leaves_out_what_it_has_nothing_to_say_of(eventful: list[ifp.Event], registry: ifp.Registry) -> None:
    keys = {key for row in table("| key of an event | value |") for key in words(row[0])}
    with registry.reading() as tx:
        for identity, body in tx.execute("SELECT id, body FROM event"):
            document = json.loads(body)
            assert hashlib.sha256(body.encode()).digest() == identity
            assert {"actor", "at", "detail", "kind", "parents"} <= document.keys() <= keys
            assert None not in document.values()
            assert plain(document).decode() == body


def test_an_event_that_was_dated_by_hand_keeps_the_clock(registry: ifp.Registry, clock: Callable[[str], None]) -> None:
    clock("2025-11-14T09:30:00Z")
    registry.model("fraud").set_policy({"validation": {"min_f1": 0.9}})
    (event,) = registry.events()
    assert event.at == "2025-11-14T09:30:00.000000Z"
    assert event.detail["clock"] > event.at


# -- metrics


def test_a_series_is_three_columns() -> None:
    vector = VECTORS["series"]
    values = [number(value) for value in vector["values"]]
    assert zlib.decompress(bytes.fromhex(vector["zlib"])).hex() == vector["columns"]
    assert zlib.decompress(series.pack(values, vector["steps"], vector["times"])).hex() == vector["columns"]
    found = series.unpack(bytes.fromhex(vector["zlib"]))
    assert repr(found) == repr((values, vector["steps"], vector["times"]))


def test_a_series_can_be_read_from_the_page_alone() -> None:
    vector = VECTORS["series"]
    data = bytes.fromhex(vector["columns"])
    count = len(data) // 24
    columns = struct.unpack(f"<{count}d{2 * count}q", data)
    for name, differences in (("steps", columns[count : 2 * count]), ("times", columns[2 * count :])):
        assert [sum(differences[: i + 1]) for i in range(count)] == vector[name]
    assert repr(list(columns[:count])) == repr([number(value) for value in vector["values"]])


def test_a_live_file_is_lines_of_points(tmp_path: Path) -> None:
    vector = VECTORS["live"]
    path = live.live_path(tmp_path, "run-7q3k9x2mab")
    path.parent.mkdir()
    path.write_text(vector["file"])
    points, end = live.read_points(tmp_path, "run-7q3k9x2mab", 0)
    expected = [live.Point(p["name"], p["dataset"], number(p["value"]), p["step"], p["at"]) for p in vector["points"]]
    assert repr(points) == repr(expected)
    assert vector["file"][end:] == "f1\tsha2", "the line that was cut off waits"


def test_a_writer_makes_such_a_live_file(tmp_path: Path) -> None:
    vector = VECTORS["live"]
    writer = live.LiveWriter(tmp_path, "run-7q3k9x2mab")
    for point in vector["points"]:
        writer.log(point["name"], point["dataset"], number(point["value"]), point["step"])
    writer.close()
    written, told = writer.path.read_text().splitlines(), vector["file"].splitlines()
    assert [line.split("\t")[:2] for line in written[:1]] == [told[0].split("\t")[:2]]
    assert [line.split("\t")[:4] for line in written[1:]] == [line.split("\t")[:4] for line in told[1:3]]


# -- the database file


def test_the_file_says_whose_it_is(registry: ifp.Registry) -> None:
    header = registry.path.read_bytes()[:100]
    assert header[68:72] == b"ifp1" and "0x69667031" in PAGE
    assert int.from_bytes(header[60:64], "big") == 3 and "schema's number 3" in PAGE
    assert header[18:20] == b"\x01\x01"
    registry.close()
    plain_connection = sqlite3.connect(registry.path)
    assert plain_connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)
    assert plain_connection.execute("PRAGMA application_id").fetchone() == (0x69667031,)
    assert plain_connection.execute("SELECT min_reader FROM registry").fetchone() == (1,)
    plain_connection.close()
