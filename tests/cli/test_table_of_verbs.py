"""The table of verbs and the tree say the same: every verb has its file, every file its verb."""

import ast
from pathlib import Path

import pytest

from app.cli.verbs import PROJECT, VERBS, Group

COMMANDS = PROJECT / "app" / "cli"


def module_of(package: str, name: str) -> Path:
    return COMMANDS.joinpath(*package.split("."), f"{name}.py")


def public_functions(path: Path) -> list[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return [node.name for node in tree.body if isinstance(node, ast.FunctionDef) and not node.name.startswith("_")]


def test_every_verb_has_its_file_and_every_file_its_verb() -> None:
    told = {module_of(verb.group.package, verb.name) for verb in VERBS.values()}
    folders = {COMMANDS.joinpath(*group.package.split(".")) for group in Group}
    there = {path for folder in folders for path in folder.glob("*.py") if path.name != "__init__.py"}
    assert {str(path.relative_to(PROJECT)) for path in told ^ there} == set()
    assert {path.parent for path in (COMMANDS / "commands").rglob("*.py")} - folders == {COMMANDS / "commands"}


@pytest.mark.parametrize("verb", VERBS)
def test_a_verbs_module_has_one_public_function(verb: str) -> None:
    assert public_functions(module_of(VERBS[verb].group.package, verb)) == ["command"]


def test_only_the_program_imports_by_name() -> None:
    by_name = {
        str(path.relative_to(COMMANDS))
        for path in COMMANDS.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute | ast.Name) and "import_module" in ast.unparse(node)
    }
    assert by_name == {"program.py"}
