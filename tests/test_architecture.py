"""The floor table in docs/ARCHITECTURE.md is what the imports say, and only store/db.py begins or ends a transaction."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "ifpdb"
PAGE = (ROOT / "docs" / "ARCHITECTURE.md").read_text(encoding="utf-8")
FLOORS = re.findall(r"^\| (\d) \w+ \| `([\w/]+\.py)` \|", PAGE, re.M)
PLACE = {module: (int(floor), order) for order, (floor, module) in enumerate(FLOORS)}
EXCEPTIONS = set(re.findall(r"^ +\| `([\w/]+\.py)` \| `([\w/]+\.py)` \|", PAGE, re.M))
FILES = {path.relative_to(PACKAGE).as_posix(): path for path in sorted(PACKAGE.rglob("*.py"))}
TRANSACTION = re.compile(r"\s*(BEGIN|COMMIT|ROLLBACK|SAVEPOINT|RELEASE|END)\b")


def parse(module: str) -> ast.Module:
    return ast.parse(FILES[module].read_text(encoding="utf-8"))


def running_nodes(tree: ast.AST) -> Iterator[ast.AST]:
    """Every node, in functions too, but none under `if TYPE_CHECKING:`."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            waiting += node.orelse
        else:
            waiting += ast.iter_child_nodes(node)


def imports(tree: ast.AST, module: str) -> set[str]:
    """The modules of the package that `module` imports, as they stand in the table."""
    found = set()
    for node in running_nodes(tree):
        if isinstance(node, ast.ImportFrom):
            folder = ["ifpdb", *module.split("/")[:-1]][: len(module.split("/")) - node.level + 1] if node.level else []
            base = [*folder, *(node.module or "").split(".")] if node.module else folder
            found |= {module_of([*base, alias.name]) or module_of(base) for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {module_of(alias.name.split(".")) for alias in node.names}
    return {name for name in found if name is not None} - {module}


def module_of(path: list[str]) -> str | None:
    """The file behind a dotted path such as ['ifpdb', 'store', 'db']; None for what is no module of this package."""
    if path[:1] != ["ifpdb"]:
        return None
    for name in ("/".join(path[1:]) + ".py", "/".join([*path[1:], "__init__.py"])):
        if name in FILES:
            return name
    return None


def is_upward(module: str, wanted: str) -> bool:
    """Whether the table forbids this import: from a higher floor, or from a later module of the same one."""
    return PLACE[wanted] >= PLACE[module]


IMPORTS = {module: imports(parse(module), module) for module in FILES}


def test_the_table_lists_every_module_once_and_no_other() -> None:
    listed = [module for _, module in FLOORS]
    assert sorted(listed) == sorted(FILES)


def test_the_floors_stand_in_order() -> None:
    assert [floor for floor, _ in FLOORS] == sorted(floor for floor, _ in FLOORS)


@pytest.mark.parametrize("module", FILES)
def test_a_module_imports_only_from_below_or_from_before_it(module: str) -> None:
    upward = {wanted for wanted in IMPORTS[module] if is_upward(module, wanted) and (module, wanted) not in EXCEPTIONS}
    assert not upward, f"{module} imports {sorted(upward)}, which stand above or behind it in docs/ARCHITECTURE.md"


@pytest.mark.parametrize(("module", "wanted"), sorted(EXCEPTIONS))
def test_a_documented_exception_is_needed(module: str, wanted: str) -> None:
    assert wanted in IMPORTS[module]
    assert is_upward(module, wanted)


@pytest.mark.parametrize(
    ("source", "module", "found"),
    [
        ("from ..model import Model", "ledger/runs.py", {"model.py"}),
        ("def f():\n    from .. import tracking", "store/db.py", {"tracking.py"}),
        ("import ifpdb.cli.output as o", "records.py", {"cli/output.py"}),
        ("from ifpdb.store import live, blobs", "refs.py", {"store/live.py", "store/blobs.py"}),
        ("from .store.db import Database", "desk.py", {"store/db.py"}),
        ("from . import lineage, __doc__", "ledger/runs.py", {"ledger/lineage.py", "ledger/__init__.py"}),
        ("from .. import __version__", "cli/looking.py", {"__init__.py"}),
        ("if TYPE_CHECKING:\n    from .records import Verdict\nelse:\n    import ifpdb.names", "errors.py", {"names.py"}),
        ("import json, sqlite3", "desk.py", set()),
    ],
)
def test_an_import_is_seen_however_it_is_written(source: str, module: str, found: set[str]) -> None:
    assert imports(ast.parse(source), module) == found


@pytest.mark.parametrize(
    ("module", "wanted"), [("ledger/runs.py", "desk.py"), ("ledger/facts.py", "ledger/runs.py"), ("desk.py", "desk.py")]
)
def test_upward_and_later_imports_are_forbidden(module: str, wanted: str) -> None:
    assert is_upward(module, wanted)


def transaction_words(tree: ast.AST) -> list[str]:
    """SQL that begins or ends a transaction, and calls of a connection that do, outside docstrings."""
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            found += [node.value] if TRANSACTION.match(node.value) else []
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            said = [arg.value.upper() for arg in node.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str)]
            bare = node.func.attr in ("commit", "rollback") and not node.args and not node.keywords
            found += [node.func.attr] if bare or node.func.attr == "executescript" else []
            found += [text for text in said if node.func.attr == "execute" and TRANSACTION.match(text)]
    return found


@pytest.mark.parametrize("module", [module for module in FILES if module != "store/db.py"])
def test_only_the_database_module_begins_or_ends_a_transaction(module: str) -> None:
    assert transaction_words(parse(module)) == []


def test_transactions_are_seen_where_they_are() -> None:
    assert "BEGIN IMMEDIATE" in transaction_words(parse("store/db.py"))
    assert transaction_words(ast.parse("def f(tx):\n    tx.commit(); tx.execute('savepoint x')")) == ["commit", "SAVEPOINT X"]
    assert transaction_words(ast.parse("'''COMMIT'''\nx = '-----BEGIN KEY-----'")) == []


@pytest.mark.parametrize("module", [module for module in FILES if module not in ("__init__.py", "cli/commands.py")])
def test_only_doors_load_modules_by_a_string(module: str) -> None:
    names = {node.id for node in ast.walk(parse(module)) if isinstance(node, ast.Name)}
    assert not names & {"import_module", "__import__"}


@pytest.mark.parametrize("module", [module for module, (floor, _) in PLACE.items() if floor < 6])
def test_only_doors_print_or_exit(module: str) -> None:
    called = {
        node.func.id for node in ast.walk(parse(module)) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    assert not called & {"print", "input", "exit", "quit"}
