"""Whatever comes in from outside is understood or refused by an error of ours, in bounded time: references, times, conditions,
policies, schemas, listings, names."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from forgery import EVIL
from hypothesis import strategies as st

import ifpdb as ifp
from ifpdb import names, policy, policyfile, refs, times, tree
from ifpdb.capture.schema.features import read_schema
from ifpdb.errors import IfpError, IntegrityError, UsageError
from ifpdb.upkeep.logical import logical_digest

Fuzz = Callable[..., Callable[[Callable[..., None]], None]]
ANY = st.text(st.characters(), max_size=40)
"""Any text, lone surrogates and NULs too."""
PIECES = [
    "fraud",
    "@",
    "v1",
    "~",
    "^",
    "@{",
    "}",
    "production",
    "sha256:",
    "run-",
    "0" * 7,
    "2025-01-01",
    " ",
    "\0",
    "9" * 30,
    "٣",
    EVIL,
]
REFS = ANY | st.lists(st.sampled_from(PIECES), max_size=8).map("".join)
HUGE = {
    "steps": "fraud" + "~1" * 200_000,
    "great step": "fraud~99999999999",
    "greater step": "fraud^" + "9" * 1_000_000,
    "ordinal": "fraud@v" + "9" * 1_000_000,
    "name": "a" * 1_000_000,
    "label": "fraud@" + "-" * 1_000_000,
    "ats": "@" * 1_000_000,
    "braces": "fraud@{" * 150_000,
    "digest": "sha256:" + "a" * 1_000_000,
    "run": "run-" + "-" * 1_000_000,
    "time": "fraud@{" + "9" * 1_000_000 + " days ago}",
    "spaces": " " * 1_000_000,
    "version in disguise": "a" + "-v1" * 300_000,
    "dots": "a" + "._-" * 300_000,
    "digits": "fraud@v٣",
}


def refuses(action: Callable[[], object]) -> bool:
    """Whether it raises an error of ours; any other error goes on."""
    try:
        action()
    except IfpError as error:
        assert str(error)
        return True
    return False


def asks(registry: ifp.Registry, text: str) -> Iterator[Callable[[], object]]:
    """Every method that takes a reference or another text, none of which changes anything."""
    fraud = registry.model("fraud")
    for one in (registry.resolve, registry.find, registry.run, registry.lineage, registry.ancestors, registry.descendants):
        yield lambda one=one: one(text)
    for one in (fraud.get, fraud.lineage, fraud.explain, fraud.blame, fraud.gate, fraud.at, fraud.history):
        yield lambda one=one: one(text)
    yield lambda: registry.merge_base(text, "fraud")
    yield lambda: registry.diff("fraud", text)
    yield lambda: registry.exposure(text)
    yield lambda: registry.artifact(text)
    yield lambda: registry.artifact("fraud", text)
    yield lambda: registry.points("fraud", text)
    yield lambda: registry.at(text)
    yield lambda: registry.at("now", as_known_on=text)
    yield lambda: registry.at("now", model=text)
    yield lambda: registry.events(since=text)
    yield lambda: registry.events(model=text)
    yield lambda: registry.events(kind=text)
    yield lambda: registry.runs(model=text)
    yield lambda: registry.runs(status=text)
    yield lambda: fraud.versions(where=text)
    yield lambda: fraud.versions(tag=text)
    yield lambda: fraud.versions(stage=text)
    yield lambda: registry.model(text).versions()
    yield lambda: registry.model(text).policy


@pytest.fixture
def digest_of(two: ifp.Registry) -> Callable[[], str]:
    def digest() -> str:
        with two.reading() as tx:
            return logical_digest(tx)

    return digest


def test_any_text_is_an_answer_or_a_refusal(two: ifp.Registry, fuzz: Fuzz, digest_of: Callable[[], str]) -> None:
    before = digest_of()

    @fuzz(examples=60, text=REFS)
    def holds(text: str) -> None:
        for ask in asks(two, text):
            refuses(ask)

    assert digest_of() == before


@pytest.mark.parametrize("text", HUGE.values(), ids=HUGE)
def test_a_huge_text_is_answered_soon(two: ifp.Registry, text: str) -> None:
    fraud = two.model("fraud")
    questions: list[Callable[[str], object]] = [two.find, fraud.get, two.at, lambda text: fraud.versions(where=text)]
    for ask in [*questions, lambda text: two.events(since=text), lambda text: two.runs(model=text)]:
        start = time.perf_counter()
        refuses(lambda ask=ask: ask(text))
        assert time.perf_counter() - start < 5
    for check in (names.check_model, names.check_tag, names.check_label, names.check_role):
        assert refuses(lambda check=check: check(text))


def test_any_text_is_a_time_or_a_usage_error(fuzz: Fuzz) -> None:
    @fuzz(examples=300, text=ANY | st.from_regex(r"\d{1,9} (days|years) ago|\d{4}-\d\d-\d\d([T ]\d\d:\d\d.{0,9})?"))
    def holds(text: str) -> None:
        try:
            when = times.parse_when(text, now=times.now())
        except UsageError:
            return
        assert times.write_time(times.read_time(when.start)) == when.start <= when.end


# -- policies

VALUES = [
    "0.9",
    "1e400",
    "-.inf",
    ".nan",
    "9" * 5000,
    "0x1F",
    "!!python/object/apply:os.system [echo]",
    "!!binary aGk=",
    "2025-13-45",
    "~",
    "&a [*a]",
    "*a",
    "[" * 50,
    "'",
    '"\\uD800"',
    "<<",
    "!!set {a}",
    "{<<: *a}",
    "? [1]",
    "yes",
    EVIL,
]
KEYS = [
    "validation",
    "approvals",
    "min_f1",
    "max_f1",
    "dataset",
    "beats_production",
    "promote_on_pass",
    "notify_on_fail",
    "required",
    "not_author",
    "bounds",
    "<<",
    "min_",
    "1",
    "2025-01-01",
    "null",
    "[1]",
    "&a x",
    "!!int 1",
]
LINES = st.builds(
    "{}{}: {}".format, st.sampled_from(["", "  ", "    ", "- "]), st.sampled_from(KEYS), st.sampled_from([*VALUES, "", "", ""])
)
POLICIES = (
    st.lists(LINES, max_size=8).map("\n".join) | st.lists(LINES, max_size=8).map(lambda x: "validation:\n" + "\n".join(x)) | ANY
)
BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 30)
)
HOSTILE_POLICIES = {
    "a bomb of aliases": BOMB,
    "a bomb in its place": BOMB + "validation: {min_f1: *a29}",
    "a bomb of targets": BOMB + "validation: {notify_on_fail: *a29}",
    "a bomb of mappings": "a0: &a0 {min_f1: 1}\n"
    + "".join(f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 10)}]}}\n" for n in range(1, 25))
    + "validation: *a24",
    "an alias of itself": "validation: &a {beats_production: *a}",
    "an object": "validation: !!python/object/apply:os.system ['touch owned']",
    "a name": "validation: !!python/name:os.system",
    "deep lists": "validation: " + "[" * 100_000,
    "deep mappings": "validation: " + "{a: " * 20_000,
    "indentation": "".join(" " * n + "a:\n" for n in range(2000)),
    "a great integer": "validation: {min_f1: " + "9" * 100_000 + "}",
    "a sexagesimal": "validation: {min_f1: " + "1:" * 50_000 + "1}",
    "a hexadecimal": "validation: {min_f1: 0x" + "f" * 100_000 + "}",
    "NaN": "validation: {min_f1: .nan}",
    "infinity": "validation: {min_f1: 1e400}",
    "a key twice": "validation:\n  min_f1: 1\n  min_f1: 2",
    "two documents": "validation: {}\n---\nvalidation: {}",
    "a NUL": "validation: {min_f1: \0}",
    "a surrogate": "validation: {dataset: \ud800}",
    "a surrogate, escaped": 'validation: {dataset: "\\uD800"}',
    "a megabyte of name": "validation: {" + "a" * 1_000_000 + ": 1}",
    "a megabyte of target": "validation: {notify_on_fail: 'slack:" + "# " * 500_000 + "'}",
}


def test_any_yaml_is_a_policy_or_a_usage_error(fuzz: Fuzz) -> None:
    @fuzz(examples=200, text=POLICIES)
    def holds(text: str) -> None:
        try:
            found = policyfile.parse(text, source="p.yaml")
        except UsageError as error:
            assert "p.yaml" in str(error)
            return
        assert policy.from_event(json.loads(json.dumps(found.as_dict()))).digest == found.digest


@pytest.mark.parametrize("text", HOSTILE_POLICIES.values(), ids=HOSTILE_POLICIES)
def test_a_hostile_policy_is_refused_soon_with_its_line(folder: Path, text: str) -> None:
    start = time.perf_counter()
    with pytest.raises(UsageError, match=r"p\.yaml, line \d+"):
        policyfile.parse(text, source="p.yaml")
    assert time.perf_counter() - start < 5
    assert not (folder / "owned").exists()


# -- schemas

JSONS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | ANY,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(ANY, inner, max_size=4),
    max_leaves=12,
)
FIELDS = {
    "position": st.integers(-1, 3) | JSONS,
    "name": ANY,
    "type": st.sampled_from(["number", "category", "tensor", "timestamp"]) | JSONS,
    "nullable": st.booleans() | JSONS,
    "min": st.floats() | st.integers() | ANY,
    "max": st.floats() | st.integers() | JSONS,
    "categories": st.lists(st.integers() | ANY | st.booleans(), max_size=3) | JSONS,
    "dtype": st.sampled_from(["float32", "x"]) | JSONS,
    "shape": st.lists(st.none() | st.integers(-1, 3), max_size=3) | JSONS,
}
FEATURES = st.fixed_dictionaries({"name": ANY, "type": st.sampled_from(["number", "integer", "string", "date"])}, optional={
    key: value for key, value in FIELDS.items() if key not in ("name", "type")})  # fmt: skip
SCHEMAS = JSONS | st.lists(FEATURES | JSONS, max_size=3).map(lambda rows: {"features": rows})


def test_any_json_is_a_schema_that_validates_or_a_usage_error(folder: Path, fuzz: Fuzz) -> None:
    @fuzz(examples=300, document=SCHEMAS)
    def holds(document: Any) -> None:
        try:
            (folder / "s.json").write_text(json.dumps(document))
            schema = read_schema("s.json")
        except UsageError as error:
            assert "s.json" in str(error)
            return
        schema.validate([dict.fromkeys(schema.names, 1.5), dict.fromkeys(schema.names), dict.fromkeys(schema.names, "x")])
        assert read_schema(json.loads(json.dumps(schema.as_dict()))) == schema


ONE = '{"features": [{"name": "a", "type": "number"%s}]}'
HOSTILE_SCHEMAS = {
    "deep": "[" * 200_000,
    "deep in its place": ONE % (', "categories": ' + "[" * 50_000 + "]" * 50_000),
    "beyond doubles": ONE % ', "min": 1e400',
    "a great integer": ONE % (', "min": ' + "9" * 100_000),
    "digits without end": ONE % (', "min": 0.' + "9" * 1_000_000 + "x"),
    "a key twice": ONE % ', "type": "string"',
    "a surrogate": ONE.replace('"a"', '"\\ud800"') % "",
    "ten megabytes": ONE % (', "categories": [' + "1," * 5_000_000 + "x]"),
    "a NUL": ONE % "" + "\0",
}


@pytest.mark.parametrize("text", HOSTILE_SCHEMAS.values(), ids=HOSTILE_SCHEMAS)
def test_a_hostile_schema_is_refused_soon(folder: Path, text: str) -> None:
    (folder / "s.json").write_text(text)
    start = time.perf_counter()
    with pytest.raises(UsageError, match=r"s\.json"):
        read_schema("s.json")
    assert time.perf_counter() - start < 10


# -- trees

NAMES = [
    "a",
    "A",
    "..",
    ".",
    "",
    "/etc/passwd",
    "a/../../b",
    "C:x",
    "a\\b",
    "con",
    "NUL.txt",
    "a\0",
    "é",
    "é",
    "a/b",
    "x" * 300,
    "\ud800",
]
ENTRIES = st.lists(
    st.tuples(
        st.sampled_from(NAMES) | ANY,
        st.booleans() | st.integers(0, 1),
        st.integers(-1, 5) | st.just(10**30) | st.floats(),
        st.sampled_from(["sha256:" + "0" * 64, "sha256:../../x", "sha256:" + "0" * 64 + "\n", ""]),
    ),
    max_size=4,
)


def test_any_listing_is_a_tree_that_stays_in_its_folder_or_an_integrity_error(fuzz: Fuzz) -> None:
    @fuzz(examples=400, rows=ENTRIES | JSONS)
    def holds(rows: Any) -> None:
        with suppress(TypeError):
            rows = sorted(rows)
        try:
            entries = tree.load(json.dumps(rows, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass"))
        except IntegrityError:
            return
        for entry in entries:
            target = Path("/dest", entry.path)
            assert target.is_relative_to("/dest") and ".." not in target.parts and "\0" not in entry.path
        assert len({entry.path.casefold() for entry in entries}) == len(entries)


@pytest.mark.parametrize(
    "text", ["[" * 200_000, "[[" + "9" * 5000 + "]]", '[["a",true,1e400,"x"]]', "\xff", "{}", "[[]]", "null"]
)
def test_a_hostile_listing_is_an_integrity_error(text: str) -> None:
    with pytest.raises(IntegrityError):
        tree.load(text.encode("latin-1"))


def test_the_part_before_the_steps_is_found_in_any_text(fuzz: Fuzz) -> None:
    @fuzz(examples=200, text=REFS)
    def holds(text: str) -> None:
        assert text.startswith(refs.base_of(text))
