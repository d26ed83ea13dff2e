"""A command that cannot go on says so: one sentence on stderr, one exit code, and with --json one document."""

import json

import pytest
from cli.command import Command, Ran
from fakes.fixed_answer import fixed_answer

from app.cli import program
from app.cli.verbs import VERBS, ExitCode

CASES = [
    (401, ExitCode.FORBIDDEN),
    (403, ExitCode.FORBIDDEN),
    (404, ExitCode.USAGE),
    (409, ExitCode.CONFLICT),
    (412, ExitCode.CONFLICT),
    (422, ExitCode.USAGE),
    (500, ExitCode.FAILED),
    (503, ExitCode.UNREACHABLE),
]


def run(capsys: pytest.CaptureFixture[str], *words: str) -> Ran:
    code = program.run(list(words))
    said = capsys.readouterr()
    return Ran(int(code), said.out, said.err)


@pytest.mark.parametrize(("status", "code"), CASES)
def test_a_problem_of_the_gateway_becomes_its_sentence_and_an_exit_code(
    capsys: pytest.CaptureFixture[str], status: int, code: ExitCode
) -> None:
    problem = {"status": status, "title": "No", "detail": "it must not be"}
    with fixed_answer(status, json.dumps(problem).encode(), "application/problem+json") as url:
        refused = run(capsys, "get", "models", "--url", url, "--json")
    assert refused.code == code
    assert refused.err == "turnback: it must not be.\n"
    assert refused.document == {"error": {"exit_code": code, "detail": "it must not be.", "problem": problem}}


def test_a_status_without_a_problem_is_said_bare(capsys: pytest.CaptureFixture[str]) -> None:
    with fixed_answer(503, b"<html>", "text/html") as url:
        assert run(capsys, "get", "models", "--url", url).err == "turnback: HTTP 503.\n"


def test_an_answer_that_is_no_document_is_not_a_gateway(capsys: pytest.CaptureFixture[str]) -> None:
    with fixed_answer(200, b"<html>", "text/html") as url:
        refused = run(capsys, "get", "models", "--url", url)
    assert refused.code == ExitCode.UNREACHABLE
    assert "not a Turnback admin listener" in refused.err


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "http://nobody.invalid", "no address", "ftp://127.0.0.1"])
def test_without_a_gateway_the_remedy_is_said(capsys: pytest.CaptureFixture[str], url: str) -> None:
    refused = run(capsys, "get", "models", "--url", url)
    assert (refused.code, refused.out) == (ExitCode.UNREACHABLE, "")
    assert "serve" in refused.err
    assert len(refused.err.splitlines()) == 1


def test_words_that_do_not_fit_are_a_usage_error_with_one_document(capsys: pytest.CaptureFixture[str]) -> None:
    refused = run(capsys, "get", "nonsense", "--json")
    assert refused.code == ExitCode.USAGE
    assert refused.document["error"]["exit_code"] == 2
    assert "Traceback" not in refused.err


def test_a_conflict_with_the_present_state_is_8(command: Command) -> None:
    assert command("rollback", "fraud", "-m", "nothing to roll back").code == ExitCode.CONFLICT
    assert command("start", "fraud", "--canary", "v2", "-m", "x").code == 0
    assert command("start", "fraud", "--canary", "v2", "-m", "x").code == ExitCode.CONFLICT


def test_an_unknown_model_is_named(command: Command) -> None:
    refused = command("get", "versions", "nobody")
    assert refused.code == ExitCode.USAGE
    assert "nobody" in refused.err


def test_what_a_server_says_cannot_move_the_cursor(capsys: pytest.CaptureFixture[str]) -> None:
    item = {"model": "m\x1b[2J", "version": "v", "urls": ["u\nv"], "path": None, "health_path": None}
    with fixed_answer(200, json.dumps({"items": [item], "next_cursor": None}).encode()) as url:
        shown = run(capsys, "get", "versions", "m", "--url", url)
    assert "\x1b" not in shown.out
    assert len(shown.out.splitlines()) == 2


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_and_a_json_option(capsys: pytest.CaptureFixture[str], verb: str) -> None:
    helped = run(capsys, verb, "--help")
    assert helped.code == 0
    assert VERBS[verb].summary.split(":")[0] in helped.out.replace("\n ", "")
    assert "--json" in helped.out


def test_a_typed_role_that_does_not_exist_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    refused = run(capsys, "serve", "--role", "leader")
    assert refused.code == ExitCode.USAGE
    assert "all, proxy, control" in refused.err
