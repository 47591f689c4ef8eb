"""How the house is kept: who may import whom, and how long things may be."""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PURE = ("audit", "chain", "chart", "decide", "draft", "ids", "lots", "model", "operations")
# What makes a result depend on anything but its arguments.
IMPURE = {"asyncio", "logging", "multiprocessing", "os", "random", "secrets", "socket", "threading", "time"}
FUNCTION_LINES_MAX = 60
MODULE_LINES_MAX = 500
# Whatever must be longer stands here with its length, which may shrink but not grow.
LONG_FUNCTIONS = {
    # One table after another, as they were made.
    "ledger/migrations/versions/0001_books.py:upgrade": 70,
}
LONG_MODULES: dict[str, int] = {}

LEDGER = sorted((ROOT / "ledger").rglob("*.py"))
SERVER = sorted((ROOT / "server").rglob("*.py"))
CLIENT = sorted(path for path in (ROOT / "clients/python/scrip").rglob("*.py") if path.parent.name != "v1")
EVERYTHING = [*LEDGER, *SERVER, *CLIENT]


def _id(path: Path) -> str:
    return str(path.relative_to(ROOT))


def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def _imports(path: Path) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Each module that is imported, with the names taken from it."""
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, ()) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            yield str(node.module), tuple(alias.name for alias in node.names)


@pytest.mark.parametrize("name", PURE)
def test_the_pure_core_imports_only_itself_and_what_is_pure(name):
    for module, names in _imports(ROOT / "ledger" / f"{name}.py"):
        top = module.split(".")[0]
        if top == "ledger":
            assert module.removeprefix("ledger.") in PURE
        else:
            assert top in sys.stdlib_module_names
            assert top not in IMPURE
            assert top != "uuid" or set(names) <= {"UUID", "uuid5"}


@pytest.mark.parametrize("name", PURE)
def test_the_pure_core_asks_no_clock(name):
    source = (ROOT / "ledger" / f"{name}.py").read_text(encoding="utf-8")

    assert not re.search(r"\.(now|utcnow|today)\(", source)


@pytest.mark.parametrize("path", LEDGER, ids=_id)
def test_the_ledger_knows_no_network_and_no_server(path):
    tops = {module.split(".")[0] for module, _ in _imports(path)}

    assert not tops & {"server", "scrip", "grpc", "google", "stripe", "uvloop", "click"}


@pytest.mark.parametrize("path", SERVER, ids=_id)
def test_the_server_uses_only_the_public_names_of_the_ledger(path):
    public = _public_names(ROOT / "ledger/__init__.py")

    for module, names in _imports(path):
        if module.split(".")[0] == "ledger":
            assert module == "ledger"
            assert set(names) <= public


@pytest.mark.parametrize("path", CLIENT, ids=_id)
def test_the_client_knows_neither_ledger_nor_server(path):
    tops = {module.split(".")[0] for module, _ in _imports(path)}

    assert not tops & {"ledger", "server"}


@pytest.mark.parametrize("path", EVERYTHING, ids=_id)
def test_functions_fit_a_screen(path):
    for function in _functions(path):
        length = function.end_lineno - function.lineno + 1
        allowed = LONG_FUNCTIONS.get(f"{_id(path)}:{function.name}", FUNCTION_LINES_MAX)
        # The client's calls are mostly the list of their arguments and what these mean.
        documented = len((ast.get_docstring(function) or "").splitlines())
        assert length - documented <= allowed, f"{_id(path)}:{function.lineno} {function.name} has {length} lines"


@pytest.mark.parametrize("path", EVERYTHING, ids=_id)
def test_modules_stay_short(path):
    length = len(path.read_text(encoding="utf-8").splitlines())

    assert length <= LONG_MODULES.get(_id(path), MODULE_LINES_MAX)


@pytest.mark.parametrize("path", [*LEDGER, *SERVER], ids=_id)
def test_only_the_command_prints(path):
    calls = {
        node.func.id for node in ast.walk(_tree(path)) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }

    assert "print" not in calls


@pytest.mark.parametrize("path", EVERYTHING, ids=_id)
def test_what_is_left_to_do_stands_in_the_docs_and_not_in_the_code(path):
    assert "TODO" not in path.read_text(encoding="utf-8")


@pytest.mark.parametrize("path", LEDGER, ids=_id)
def test_what_is_public_in_the_ledger_is_documented(path):
    if "versions" in path.parts:
        return
    tree = _tree(path)

    undocumented = [
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        and not node.name.startswith("_")
        and node in tree.body
        and not ast.get_docstring(node)
    ]

    assert undocumented == []


def test_no_module_is_called_utils():
    names = {path.stem for path in EVERYTHING}

    assert not names & {"utils", "util", "helpers", "common", "base", "misc"}


def test_the_ratchet_holds_nothing_that_has_become_short():
    lengths = {
        f"{_id(path)}:{function.name}": function.end_lineno - function.lineno + 1
        for path in EVERYTHING
        for function in _functions(path)
    }

    assert all(lengths.get(name, 0) > FUNCTION_LINES_MAX for name in LONG_FUNCTIONS)


def _functions(path: Path) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    return [node for node in ast.walk(_tree(path)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def _public_names(path: Path) -> set[str]:
    for node in _tree(path).body:
        if isinstance(node, ast.Assign) and node.targets[0].id == "__all__":
            return set(ast.literal_eval(node.value))
    raise AssertionError(f"{path} does not say what is public")
