"""Parses one verb's words, runs it and turns whatever stops it into a sentence and an exit code."""

import sys
from importlib import import_module

import typer
from typer.exceptions import TyperException

from app.cli.output import Refused, write_document
from app.cli.verbs import VERBS, ExitCode, Verb

_HELP = {"help_option_names": ["-h", "--help"]}


def run(arguments: list[str]) -> int:
    """Run `VERB words…`; only the verb's own module is imported."""
    verb = VERBS[arguments[0]]
    try:
        code = _program(verb)(arguments, prog_name="turnback", standalone_mode=False)
    except TyperException as wrong:
        return _refuse(arguments, Refused(ExitCode.USAGE, f"{wrong.format_message()} `{verb.name} --help` says more."))
    except Refused as refused:
        return _refuse(arguments, refused)
    return code if isinstance(code, int) else ExitCode.DONE


def _program(verb: Verb) -> typer.Typer:
    program = typer.Typer(
        add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False, context_settings=_HELP
    )
    # With a callback, a program of one command still wants the command's name.
    program.callback()(_keep_the_name)
    command = import_module(f"app.cli.{verb.group.package}.{verb.name}").command
    extra = {"allow_extra_args": True, "ignore_unknown_options": True} if verb.passes_on else {}
    program.command(verb.name, help=verb.summary, context_settings=_HELP | extra)(command)
    return program


def _keep_the_name() -> None:
    """Turnback: a rollback gateway for machine-learning models."""


def _refuse(arguments: list[str], refused: Refused) -> int:
    sys.stderr.write(f"turnback: {refused}\n")
    if "--json" in arguments:
        write_document({"error": {"exit_code": int(refused.code), "detail": str(refused), "problem": refused.problem}})
    return refused.code
