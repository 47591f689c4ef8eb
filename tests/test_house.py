"""The house stays in order: who may import whom, what stays short, and what is not written at all."""

import ast
import re
import sys
from functools import cache
from pathlib import Path

import pytest

import ledger

ROOT = Path(__file__).parent.parent
GENERATED = ROOT / "clients/python/scrip/v1"
LEDGER = sorted(path for path in (ROOT / "ledger").rglob("*.py") if "migrations" not in path.parts)
MIGRATIONS = sorted((ROOT / "ledger/migrations").rglob("*.py"))
SERVER = sorted((ROOT / "server").rglob("*.py"))
CLIENT = sorted(path for path in (ROOT / "clients/python/scrip").rglob("*.py") if GENERATED not in path.parents)
TESTS = sorted((ROOT / "tests").rglob("*.py"))
OTHERS = sorted([*(ROOT / "benchmarks").rglob("*.py"), *(ROOT / "examples").rglob("*.py")])
OURS = [*LEDGER, *MIGRATIONS, *SERVER, *CLIENT, *TESTS, *OTHERS]

# The core that decides and explains: everything it knows is handed to it. A package is pure with all that is in it.
PURE = {
    "administration",
    "audit",
    "audit_money",
    "audit_use",
    "card_versions",
    "chain",
    "charges",
    "chart",
    "decide",
    "draft",
    "explain",
    "fields",
    "folding",
    "ids",
    "json_text",
    "lots",
    "model",
    "money",
    "operations",
    "outcome",
    "price_book",
    "pricing",
    "rate_cards",
    "sales",
    "standing",
    "terms",
}
IMPURE = {
    "asyncio",
    "io",
    "logging",
    "os",
    "pathlib",
    "random",
    "secrets",
    "socket",
    "sqlite3",
    "subprocess",
    "threading",
    "time",
}
PURE_OF_UUID = {"UUID"}
CLOCKS = {"now", "utcnow", "today", "fromtimestamp"}
PRINTERS = {"server/__main__.py", "server/output.py"}
SILENT = [path for path in [*LEDGER, *MIGRATIONS, *SERVER, *CLIENT] if str(path.relative_to(ROOT)) not in PRINTERS]
NAMES_THAT_SAY_NOTHING = {"utils", "util", "helpers", "helper", "common", "base", "misc"}

FUNCTION_LINES_MAX = 60
MODULE_LINES_MAX = 500
# What is longer, how long it is, and why. A number here may only go down; what has become short leaves the list.
LONG_MODULES: dict[str, tuple[int, str]] = {}
LONG_FUNCTIONS: dict[str, tuple[int, str]] = {}


@cache
def tree(path):
    return ast.parse(path.read_text(encoding="utf-8"))


def place(path):
    return str(path.relative_to(ROOT))


def imports(path):
    """(module, name) of every import, wherever it stands; the name is empty for `import module`."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{place(path)} has a relative import"
            yield from ((node.module, alias.name) for alias in node.names)


def packages(path):
    return {module.split(".")[0] for module, _ in imports(path)}


def functions(path):
    return [node for node in ast.walk(tree(path)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def lines_of(node):
    first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
    return node.end_lineno - first + 1


def part_of_the_ledger(path):
    """The module or package right below `ledger` that a file is, or lies in."""
    return path.relative_to(ROOT / "ledger").parts[0].removesuffix(".py")


def pure_modules():
    return [path for path in LEDGER if part_of_the_ledger(path) in PURE]


def test_the_pure_modules_are_all_there():
    assert {part_of_the_ledger(path) for path in pure_modules()} == PURE


@pytest.mark.parametrize("path", pure_modules(), ids=place)
def test_a_pure_module_imports_the_standard_library_and_other_pure_modules_only(path):
    for module, name in imports(path):
        package, _, rest = module.partition(".")
        if package == "ledger":
            assert rest.partition(".")[0] in PURE, f"{module} is not pure"
        else:
            assert package in sys.stdlib_module_names, f"{module} is not of the standard library"
            assert package not in IMPURE, f"{module} reaches outside"
            assert package != "uuid" or name in PURE_OF_UUID, f"uuid.{name} is made from chance or the machine"


@pytest.mark.parametrize("path", pure_modules(), ids=place)
def test_a_pure_module_asks_no_clock_reads_no_file_and_knows_no_float(path):
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Attribute):
            assert node.attr not in CLOCKS, f"line {node.lineno} asks the clock"
        if isinstance(node, ast.Name):
            assert node.id not in {"open", "input", "print", "float"}, f"line {node.lineno} has {node.id}"
        if isinstance(node, ast.Constant):
            assert not isinstance(node.value, float), f"line {node.lineno} has a float"
        assert not isinstance(node, ast.Div), "an amount is never divided into a float"


@pytest.mark.parametrize("path", [*LEDGER, *MIGRATIONS], ids=place)
def test_the_ledger_knows_no_network(path):
    assert packages(path).isdisjoint({"server", "scrip", "grpc", "google", "tests", "benchmarks"})


@pytest.mark.parametrize("path", SERVER, ids=place)
def test_the_server_uses_the_public_names_of_the_ledger_only(path):
    for module, name in imports(path):
        if module == "ledger":
            assert name in ledger.__all__, f"{name} is not public"
        else:
            assert not module.startswith("ledger.") or module == "ledger.migrations", f"{module} is not public"
            assert module.split(".")[0] not in {"sqlalchemy", "alembic", "psycopg", "sqlite3", "tests"}


@pytest.mark.parametrize("path", CLIENT, ids=place)
def test_the_client_knows_neither_the_ledger_nor_the_server(path):
    ours_and_allowed = {"scrip", "grpc", "google", "grpc_status"}

    assert packages(path) <= ours_and_allowed | sys.stdlib_module_names


def test_the_public_names_are_listed_in_order_and_exist():
    names = ledger.__all__

    assert names == sorted(set(names), key=lambda name: (not name.isupper(), not name[0].isupper(), name))
    assert all(hasattr(ledger, name) for name in names)


def test_functions_stay_short():
    long = {
        f"{place(path)}::{function.name}": lines_of(function)
        for path in OURS
        for function in functions(path)
        if lines_of(function) > FUNCTION_LINES_MAX
    }

    assert long == {name: lines for name, (lines, _) in LONG_FUNCTIONS.items()}


def test_modules_stay_short():
    lengths = {place(path): len(path.read_text(encoding="utf-8").splitlines()) for path in OURS}

    long = {name: lines for name, lines in lengths.items() if lines > MODULE_LINES_MAX}

    assert long == {name: lines for name, (lines, _) in LONG_MODULES.items()}


def test_what_must_be_long_says_why():
    assert all(len(why.split()) >= 4 for _, why in [*LONG_MODULES.values(), *LONG_FUNCTIONS.values()])


@pytest.mark.parametrize("path", SILENT, ids=place)
def test_nothing_prints_but_the_command(path):
    printing = [node.lineno for node in ast.walk(tree(path)) if isinstance(node, ast.Name) and node.id == "print"]

    assert printing == []


@pytest.mark.parametrize("path", OURS, ids=place)
def test_no_except_is_bare(path):
    bare = [node.lineno for node in ast.walk(tree(path)) if isinstance(node, ast.ExceptHandler) and node.type is None]

    assert bare == []


def test_whatever_is_left_to_do_is_told_in_the_docs():
    told = "\n".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "docs").rglob("*.md")))
    sources = [path for path in [*OURS, *sorted((ROOT / "protos").rglob("*.proto"))] if path != Path(__file__)]
    left = [
        f"{place(path)}: {line.strip()}"
        for path in sources
        for line in path.read_text(encoding="utf-8").splitlines()
        if (mark := re.search(r"\b(?:TODO|FIXME|XXX)\b(?:\(([\w-]+)\))?", line)) and (mark[1] or "\0") not in told
    ]

    assert left == [], 'write TODO(some-name), and a line in docs/ that has "some-name" and says what and why'


@pytest.mark.parametrize("path", LEDGER, ids=place)
def test_everything_public_in_the_ledger_says_what_it_is(path):
    def silent(node, owner=""):
        for child in node.body:
            if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) or child.name[0] == "_":
                continue
            if ast.get_docstring(child) is None:
                yield f"{owner}{child.name}"
            if isinstance(child, ast.ClassDef):
                yield from silent(child, f"{child.name}.")

    assert ast.get_docstring(tree(path)) is not None
    assert list(silent(tree(path))) == []


@pytest.mark.parametrize("path", OURS, ids=place)
def test_a_module_is_named_after_what_is_in_it(path):
    assert path.stem not in NAMES_THAT_SAY_NOTHING
