"""People and pipelines see this of quality, cost and comparisons, and of declarations in files."""

import json
from pathlib import Path

import httpx
import psycopg
import pytest
from cli.command import Command

from app.cli.verbs import ExitCode

DECLARED = """
observation: {prediction: /outputs/0/data/0}
feedback:
  metrics:
    - {name: accuracy, kind: accuracy, horizon_s: 1}
slices:
  - {name: carrier, header: x-carrier}
features:
  - {name: distance, pointer: /inputs/0/data/0}
"""
PRICED = """
credentials:
  offline: {accuracy: 0.97}
  prices: {per_answer: 0.002, per_hour: 1.0}
"""


@pytest.fixture
def delay(command: Command, tmp_path: Path) -> Command:
    """A model `delay` with versions a and b, declared in files."""
    model_file, version_file = tmp_path / "model.yaml", tmp_path / "version.yaml"
    model_file.write_text(DECLARED)
    version_file.write_text(PRICED)
    for port, version in (("9003", "a"), ("9004", "b")):
        words = ("--url", f"http://127.0.0.1:{port}", "--model-file", str(model_file))
        added = command("register", "delay", version, *words, "--version-file", str(version_file))
        assert added.code == 0, added.err
    return command


def labelled(database_url: str, counts: dict[str, tuple[int, int]]) -> None:
    """Version to right and wrong answers of five minutes ago, drawn and labelled within half a second."""
    with psycopg.connect(database_url.replace("postgresql+psycopg", "postgresql"), autocommit=True) as connection:
        for version, count in counts.items():
            for is_right, answers in zip((True, False), count, strict=True):
                connection.execute(
                    """
                    WITH said AS (
                        SELECT gen_random_uuid() AS exchange, extract(epoch FROM now())::bigint - 300 AS second
                        FROM generate_series(1, %(answers)s)
                    ), answered AS (
                        INSERT INTO answers (exchange, second, model, version, generation, sampled, request_id, status,
                                             predictions, scores, slices)
                        SELECT exchange, second, 'delay', %(version)s, 2, true, 'r', 200, '[1]', '[]',
                               '{"carrier": "UA"}' FROM said
                    )
                    INSERT INTO labels (exchange, metric, source, revision, second, model, version, generation, label,
                                        slices, received_at)
                    SELECT exchange, 'accuracy', 'desk', 0, second, 'delay', %(version)s, 2,
                           to_jsonb(%(is_right)s::int), '{}', to_timestamp(second + 0.5) FROM said
                    """,
                    {"answers": answers, "version": version, "is_right": is_right},
                )


def test_declarations_in_files_are_registered_and_a_model_never_changes(delay: Command, tmp_path: Path) -> None:
    model = delay("get", "models", "delay", "--json").document["items"][0]
    assert [metric["name"] for metric in model["feedback"]["metrics"]] == ["accuracy"]
    assert (model["slices"][0]["header"], model["features"][0]["name"]) == ("x-carrier", "distance")
    version = delay("get", "versions", "delay", "--json").document["items"][0]
    assert (version["credentials"]["offline"], version["credentials"]["prices"]["per_answer"]) == (
        {"accuracy": 0.97},
        0.002,
    )
    other = tmp_path / "other.yaml"
    other.write_text(DECLARED.replace("x-carrier", "x-airline"))
    refused = delay("register", "delay", "c", "--url", "http://127.0.0.1:9005", "--model-file", str(other))
    assert (refused.code, "another slices" in refused.err) == (ExitCode.CONFLICT, True)


def test_quality_says_which_sources_disagree_about_how_many_answers(delay: Command, database_url: str) -> None:
    labelled(database_url, {"a": (9, 1)})
    with psycopg.connect(database_url.replace("postgresql+psycopg", "postgresql"), autocommit=True) as connection:
        # Who writes true means what the other one means by 1.
        connection.execute(
            'INSERT INTO labels SELECT (jsonb_populate_record(l, \'{"source": "robot", "label": true}\')).*'
            " FROM labels l"
        )
    assert (
        "  a: desk and robot label 1 of 10 answers differently; who was first counts"
        in delay("quality", "delay").out.splitlines()
    )


@pytest.mark.parametrize("text", ["feedback: [", "- a", "feedbock: {}", None])
def test_a_file_that_declares_nothing_the_gateway_knows_is_refused(
    command: Command, tmp_path: Path, text: str | None
) -> None:
    file = tmp_path / "model.yaml"
    if text is not None:
        file.write_text(text)
    ran = command("register", "delay", "a", "--url", "http://127.0.0.1:9003", "--model-file", str(file))
    assert (ran.code, ran.err.count("\n")) == (ExitCode.USAGE, 1)


def test_quality_is_a_row_for_each_version_with_its_slices(delay: Command, database_url: str) -> None:
    labelled(database_url, {"a": (90, 10)})
    shown = delay("quality", "delay")
    assert shown.code == 0, shown.err
    lines = shown.out.splitlines()
    assert "accuracy (accuracy, higher is better)" in lines[0]
    row = next(line for line in lines if line.startswith("a "))
    assert {"100", "0.9", "0.97"} <= set(row.split())
    assert any("a: carrier=UA 0.9" in line for line in lines)
    assert "  a: 0 taken for 1 10 times" in lines
    assert delay("quality", "delay", "--json", "--metric", "accuracy").document["model"] == "delay"
    assert delay("quality", "delay", "--metric", "nope").code == ExitCode.USAGE
    assert "declares no feedback" in delay("quality", "fraud").out


def test_cost_says_what_is_spent_and_a_rollback_says_it_before_it_is_done(
    command: Command, delay: Command, database_url: str
) -> None:
    started = delay("start", "delay", "--canary", "b", "-m", "try it", "--json")
    assert started.code == 0, started.err
    measured(database_url, {"a": 0.002, "b": 0.003})
    assert "keeping b running as canary: 24 a day" in command("cost", "delay").out
    assert command("promote", "delay", "-m", "now", "--force").code == 0
    shown = command("cost", "delay").out
    assert "turning b back to a saves" in shown
    turned = command("rollback", "delay", "-m", "too dear", "--json")
    assert (turned.code, turned.document["action"]) == (0, "roll_back")
    assert turned.err.startswith("turning b back to a saves")
    assert "PER ANSWER" in command("cost", "delay").out


def measured(database_url: str, cost_per_answer: dict[str, float]) -> None:
    """A hundred answers of each version a minute ago."""
    with psycopg.connect(database_url.replace("postgresql+psycopg", "postgresql"), autocommit=True) as connection:
        for version, cost in cost_per_answer.items():
            content = {"judged": 100, "bad": 0, "read": 100, "flawed": 0, "flaws": {}, "slices": {}}
            content["measures"] = {"cost": [100, 100 * cost, 100 * cost * cost]}
            connection.execute(
                """
                INSERT INTO observed (boot, second, model, generation, version, content, sequence)
                VALUES (gen_random_uuid(), extract(epoch FROM now())::bigint - 60, 'delay', 1, %s, %s, 1)
                """,
                (version, json.dumps(content)),
            )
            connection.execute(
                """
                INSERT INTO tallies (boot, second, model, generation, version, exchanges, ok, client_error,
                                     upstream_error, connect_error, timeout, cancelled, excluded, latency_bins,
                                     latency_counts, sequence)
                VALUES (gen_random_uuid(), extract(epoch FROM now())::bigint - 60, 'delay', 1, %s, 100, 100, 0, 0, 0, 0,
                        0, 0, '{}', '{}', 1)
                """,
                (version,),
            )


def test_a_rollback_waits_for_no_price(command: Command) -> None:
    command("start", "fraud", "--canary", "v2", "-m", "try it")
    turned = command("rollback", "fraud", "-m", "no reason")
    assert (turned.code, turned.err) == (0, "")


def test_compare_is_one_table_on_one_page(delay: Command, database_url: str) -> None:
    with httpx.Client(base_url=delay.url) as api:
        body = {"weights_bp": {"a": 5_000, "b": 5_000}, "reason": "both"}
        assert api.put("/v1/models/delay/route", json=body).json()["generation_after"] == 2
    labelled(database_url, {"a": (90, 10), "b": (85, 15)})
    shown = delay("compare", "delay", "a", "b")
    assert shown.code == 0, shown.err
    lines = shown.out.splitlines()
    assert lines[0].split() == ["a", "b", "DIFFERENCE", "95", "%"]
    assert lines[1].split()[:3] == ["accuracy", "0.9", "0.85"]
    assert any(line.split()[:5] == ["offline", "accuracy", "0.97", "0.97", "0"] for line in lines)
    assert len(lines) < 24
    assert delay("compare", "delay", "a", "b", "--json").document["second"]["version"] == "b"
    assert delay("compare", "delay", "a", "a").code == ExitCode.USAGE
