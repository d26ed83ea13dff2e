"""What the tree must look like: sizes, names, layers, nothing of anybody's machine.

Each test names every offender at once, so that one run is enough to mend them all.
"""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[1]
SOURCES = ("app", "bench", "migrations", "sdk", "tests")
MAX_FILE_LINES = 500
MAX_FUNCTION_LINES = 49
BANNED_WORDS = frozenset({"utils", "util", "helpers", "helper", "misc", "manager"})
# As whole names they say nothing; a common cause is a thing.
BANNED_NAMES = BANNED_WORDS | {"common", "base", "core"}
# What a pure module may use: values, mathematics, text. Anything else needs a reason to be added here.
PURE = frozenset(
    {"__future__", "app", "bisect", "collections", "cryptography", "dataclasses", "datetime", "enum", "fractions"}
    | {"binascii", "functools", "hashlib", "heapq", "hmac", "itertools", "math", "numpy", "operator", "re", "scipy"}
    | {"struct", "types", "typing", "urllib"}
)
IMPURE_CALLS = re.compile(
    r"(?:datetime\.now|datetime\.utcnow|date\.today|numpy\.random|np\.random|\bopen|\bprint)\b\(?"
)
ELSEWHERE = re.compile(
    rb"/(?:root|work)/(?=[\w.])|/tmp/(?=[\w.])|/home/(?!turnback\b)\w+|/Users/\w+"
    rb"|\bpypi\.org|pythonhosted\.org|index-url\s*=|registry\.npmjs"
)
FOLDERS = frozenset({"app", "bench", "deploy", "docs", "migrations", "openapi", "sdk", "tests", ".ci"})

Function = ast.FunctionDef | ast.AsyncFunctionDef


@cache
def modules() -> dict[str, ast.Module]:
    """Every module's path in the project and its syntax tree."""
    paths = [path for folder in SOURCES for path in sorted((PROJECT / folder).rglob("*.py"))]
    return {shown(path): ast.parse(path.read_text(encoding="utf-8")) for path in paths}


def shown(path: Path) -> str:
    return str(path.relative_to(PROJECT))


def domain() -> dict[str, ast.Module]:
    return {name: tree for name, tree in modules().items() if name.startswith("app/domain/")}


def functions(tree: ast.Module) -> Iterator[Function]:
    return (node for node in ast.walk(tree) if isinstance(node, Function))


def length(function: Function) -> int:
    return (function.end_lineno or function.lineno) - function.lineno + 1


def committed_files() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=PROJECT, capture_output=True, check=False)  # noqa: S607 -- whichever git there is
    if listed.returncode != 0:
        pytest.skip("not a git checkout, so nothing says what is committed")
    return [PROJECT / name for name in listed.stdout.decode().split("\0") if name and (PROJECT / name).is_file()]


def test_no_module_is_longer_than_500_lines() -> None:
    lines = {name: len((PROJECT / name).read_text(encoding="utf-8").splitlines()) for name in modules()}
    assert {name: count for name, count in lines.items() if count > MAX_FILE_LINES} == {}


def test_every_function_is_shorter_than_50_lines() -> None:
    found = {f"{name}:{each.name}": length(each) for name, tree in modules().items() for each in functions(tree)}
    assert {name: count for name, count in found.items() if count > MAX_FUNCTION_LINES} == {}


def test_the_median_function_of_the_application_is_under_10_lines() -> None:
    lengths = sorted(
        length(each) for name, tree in modules().items() if name.startswith("app/") for each in functions(tree)
    )
    assert lengths[len(lengths) // 2] < 10


def test_the_first_line_of_every_module_says_what_lives_there() -> None:
    first_lines = {name: (ast.get_docstring(tree) or "").split("\n", 1)[0] for name, tree in modules().items()}
    assert [name for name, line in first_lines.items() if len(line.split()) < 3] == []


def test_no_module_or_folder_has_a_name_that_says_nothing() -> None:
    def says_nothing(name: str) -> bool:
        return bool(BANNED_NAMES & set(re.split(r"[/.]", name)) or BANNED_WORDS & set(re.split(r"[/_.]", name)))

    assert [name for name in modules() if says_nothing(name)] == []


def test_no_class_or_function_has_a_name_that_says_nothing() -> None:
    # A test's name is a sentence, which may speak of a base or a core.
    named = [
        (name, node.name)
        for name, tree in modules().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef | Function) and not node.name.startswith("test_")
    ]
    assert [pair for pair in named if BANNED_NAMES & set(_words(pair[1]))] == []


def _words(name: str) -> list[str]:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower().split("_")


def test_the_domain_imports_nothing_impure() -> None:
    imported = {(name, root) for name, tree in domain().items() for root in _imported_roots(tree)}
    assert {pair for pair in imported if pair[1] not in PURE} == set()


def _imported_roots(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield (node.module or "").split(".")[0] if node.level == 0 else "a relative import"


def test_the_domain_asks_no_clock_no_chance_and_no_file() -> None:
    called = {name: IMPURE_CALLS.findall(ast.unparse(_without_docstrings(tree))) for name, tree in domain().items()}
    assert {name: calls for name, calls in called.items() if calls} == {}


def _without_docstrings(tree: ast.Module) -> ast.Module:
    def is_text(node: ast.stmt) -> bool:
        return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)

    copied = ast.parse(ast.unparse(tree))
    for node in ast.walk(copied):
        if isinstance(node, ast.Module | ast.ClassDef | Function):
            node.body = [each for each in node.body if not is_text(each)] or [ast.Pass()]
    return copied


def test_no_constructor_writes_into_another_object() -> None:
    """What an object is made of is the same before and after; who changes it says so by a name of its own."""
    found = [
        f"{name}:{target.lineno}: {ast.unparse(target)}"
        for name, tree in modules().items()
        if name.startswith("app/")
        for function in functions(tree)
        if function.name == "__init__"
        for target in _written(function)
        if isinstance(target.value, ast.Name) and target.value.id in _given(function)
    ]
    assert found == []


def _given(function: Function) -> set[str]:
    """Names of the parameters, but for the object itself."""
    of = function.args
    return {each.arg for each in (*of.posonlyargs, *of.args, *of.kwonlyargs)} - {"self"}


def _written(function: Function) -> Iterator[ast.Attribute]:
    """Attributes that are assigned to, added to or deleted."""
    nodes = (node for node in ast.walk(function) if isinstance(node, ast.Attribute))
    return (node for node in nodes if not isinstance(node.ctx, ast.Load))


def test_the_contracts_between_the_layers_are_kept() -> None:
    # A process of its own, because import-linter configures itself globally.
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache", "--no-logo"]
    linted = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)  # noqa: S603 -- this environment's tool
    assert linted.returncode == 0, linted.stdout + linted.stderr


def test_no_committed_file_names_a_machine_or_a_registry() -> None:
    found = {shown(path): ELSEWHERE.search(path.read_bytes()) for path in committed_files() if path != Path(__file__)}
    assert {name: match.group() for name, match in found.items() if match} == {}


def test_every_committed_folder_has_its_place_in_the_layout() -> None:
    top = {path.relative_to(PROJECT).parts[0] for path in committed_files() if path.parent != PROJECT}
    assert top - FOLDERS == set()
