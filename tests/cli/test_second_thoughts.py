"""People and pipelines see this of `explain`, `replay`, `simulate` and `power`."""

import asyncio
from dataclasses import replace
from pathlib import Path
from secrets import token_bytes

import httpx
import pytest
from actions.judged import JudgedRollout
from cli.command import Command
from fakes.probe import ProbeBook
from sqlalchemy import text

from app.actions.context import Means
from app.cli.verbs import ExitCode
from app.domain.guardrails.policy import DEFAULT_POLICY
from app.domain.rollout.rollout import Phase
from app.store.pg.database import Database
from app.upstream_allow import LOOPBACK, AllowList

WHY = ("-m", "a test")
POLICY = "guardrails:\n  - {metric: errors, margin: 0.2}\nmax_weight_bp: 1000\n"


def written(folder: Path, content: str) -> str:
    file = folder / "policy.yaml"
    file.write_text(content, encoding="utf-8")
    return str(file)


def decided(command: Command) -> str:
    command("start", "fraud", "--canary", "v2", *WHY)
    return str(command("pause", "fraud", *WHY, "--json").document["id"])


def test_an_order_is_shown_with_nothing_to_recompute(command: Command) -> None:
    decision = decided(command)
    replayed = command("replay", decision, "--from-rows")
    assert (replayed.code, replayed.err) == (0, "")
    assert "Paused v2" in replayed.out
    assert "Nothing to recompute: an order." in replayed.out
    assert command("replay", decision, "--json").document["outcome"] == "order"


def test_replay_of_no_decision_is_a_usage_error(command: Command) -> None:
    refused = command("replay", "d-41", "--json")
    assert (refused.code, "no decision is called d-41" in refused.err) == (ExitCode.USAGE, True)


def edited(url: str, decision: str, change: str) -> None:
    """Change a decision's row behind the gateway's back."""

    async def edit() -> None:
        database = Database(url)
        async with database.transaction() as tx:
            await tx.execute(text(f"UPDATE decisions SET {change} WHERE id = :id"), {"id": decision})  # noqa: S608 -- the test's own
        await database.close()

    asyncio.run(edit())


def test_a_decision_without_its_inputs_leaves_replay_undecided(command: Command, database_url: str) -> None:
    decision = decided(command)
    edited(database_url, decision, "actor = 'engine'")
    replayed = command("replay", decision)
    assert replayed.code == ExitCode.UNDECIDED
    assert "it cannot be replayed" in replayed.out


def test_simulate_tells_each_rollout_twice(command: Command, tmp_path: Path) -> None:
    command("start", "fraud", "--canary", "v2", *WHY, "--set", "warmup_s=60")
    file = written(tmp_path, POLICY + "warmup_s: 0.0\n")
    simulated = command("simulate", "fraud", "-f", file, "--history", "1h")
    assert (simulated.code, simulated.err) == (0, "")
    assert "v2 would have been left undecided" in simulated.out
    assert "not known: After" in simulated.out
    document = command("simulate", "fraud", "-f", file, "--json").document
    assert document["items"][0]["would_be"]["ending"]["phase"] == "ramping"


def test_simulate_takes_json_too_and_says_when_there_is_nothing_to_judge(command: Command, tmp_path: Path) -> None:
    simulated = command("simulate", "fraud", "-f", written(tmp_path, '{"alpha_rollback": 0.001}'))
    assert (simulated.code, "has no rollout that began after" in simulated.out) == (0, True)


@pytest.mark.parametrize(
    "content",
    [
        "[1, 2]",
        "just words",
        "a: [",
        "a: 1\na: 2\n",
        "alpha_rollback: 2026-01-01",
        "1: 2",
        "no_such_field: 1",
        "a: .nan",
    ],
)
def test_a_file_that_holds_no_policy_is_a_usage_error(command: Command, tmp_path: Path, content: str) -> None:
    refused = command("simulate", "fraud", "-f", written(tmp_path, content))
    assert refused.code == ExitCode.USAGE
    assert len(refused.err.splitlines()) == 1


def test_a_policy_that_is_no_file_or_a_span_that_is_none_is_a_usage_error(command: Command, tmp_path: Path) -> None:
    assert command("simulate", "fraud", "-f", str(tmp_path / "gone.yaml")).code == ExitCode.USAGE
    assert command("simulate", "fraud", "-f", written(tmp_path, POLICY), "--history", "a week").code == ExitCode.USAGE
    assert command("simulate", "fraud").code == ExitCode.USAGE


def test_power_says_both_what_turns_back_and_what_proves(command: Command) -> None:
    words = ("--stable", "1%", "--canary", "2%", "--rate", "100", "--within", "1m")
    told = command("power", *words)
    assert (told.code, told.err) == (0, "")
    turn_back, prove = (line for line in told.out.splitlines() if line.startswith("to "))
    assert turn_back.split()[4:6] == ["5,341", "6,944"]
    assert prove.startswith("to prove it not worse")
    assert "1m can show no effect smaller than" in told.out
    assert command("power", *words, "--json").document["turn_back"]["seconds"] == pytest.approx(69.4, abs=0.1)


def test_power_of_a_score_and_of_latency(command: Command) -> None:
    score = command("power", "score", "--deviation", "0.12", "--difference", "0.02", "--labelled", "10%")
    assert (score.code, "to roll it back" in score.out) == (0, True)
    latency = command("power", "latency", "--stable", "5%", "--canary", "0.02", "--model", "fraud")
    assert latency.code == 0
    assert "nothing would roll it back" in latency.out
    assert "traffic not known" in latency.out


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("--stable", "one"),
        ("--stable", "1%", "--within", "soon"),
        ("--stable", "1%", "--weight", "0"),
        ("speed", "--stable", "1%"),
        ("--stable", "1%", "--model", "nobody"),
        ("--stable", "200%"),
    ],
)
def test_power_refuses_what_makes_no_sense(command: Command, words: tuple[str, ...]) -> None:
    assert command("power", *words).code == ExitCode.USAGE


def test_no_second_thought_changes_anything(command: Command, tmp_path: Path) -> None:
    decision = decided(command)
    before = [httpx.get(f"{command.url}/v1/{place}").json() for place in ("decisions", "audit", "models")]
    command("replay", decision, "--from-rows")
    command("simulate", "fraud", "-f", written(tmp_path, POLICY))
    command("power", "--stable", "1%")
    assert [httpx.get(f"{command.url}/v1/{place}").json() for place in ("decisions", "audit", "models")] == before


def played(url: str) -> str:
    """A rollout of v2 that evidence rolled back; its last decision."""

    async def play() -> str:
        database = Database(url)
        means = Means(database, ProbeBook(), AllowList(LOOPBACK).check, token_bytes)
        judged = await JudgedRollout.begun(means, replace(DEFAULT_POLICY, warmup_s=0.0, max_extra_bad=1_000.0))
        await judged.play(6, exchanges=2_000)
        await judged.play_until(Phase.ROLLED_BACK, exchanges=2_000, canary_bad=0.5)
        await database.close()
        return judged.last.id

    return asyncio.run(play())


def test_a_turned_back_rollout_is_explained_from_its_rates_to_its_time_line(
    command: Command, database_url: str
) -> None:
    played(database_url)
    explained = command("explain", "fraud")
    assert (explained.code, explained.err) == (0, "")
    told = explained.out
    assert "v2 is proven worse than v1." in told
    assert "suspicious at 10, rolled back at 100" in told
    assert "not the probability that v2 is bad" in told
    assert "WEIGHT  v2 ANSWERS  BAD  RATE" in told
    assert "times v1's, with" in told
    assert "more of v2's answers are bad, with 95 % confidence at any time" in told
    assert [line.split()[1] for line in told.splitlines() if " engine " in line and line.startswith("20")][-1] == (
        "roll_back"
    )
    assert command("explain", "fraud", "--json").document["explanation"]["certain"][0]["least_ratio"] > 1.0


def test_a_running_rollout_is_explained_with_what_is_not_counted(command: Command) -> None:
    command("start", "fraud", "--canary", "v2", *WHY)
    told = command("explain", "fraud").out
    assert "v2 has given no answers yet." in told
    assert "v1 in the last hour: 0 drawn; not counted: 0 without a coin (0 forced), 0 left by the client" in told
    assert "read up to" in told


def test_a_decision_of_the_engine_agrees_until_somebody_edits_it(command: Command, database_url: str) -> None:
    decision = played(database_url)
    replayed = command("replay", decision, "--from-rows")
    assert (replayed.code, replayed.err) == (0, "")
    assert "gives the same decision, to the last bit" in replayed.out
    assert "the same counts, one by one" in replayed.out
    edited(database_url, decision, "evidence = jsonb_set(evidence, '{numbers,log_e}', '99')")
    replayed = command("replay", decision)
    assert replayed.code == ExitCode.DIFFERENCES
    assert "/numbers/log_e: stored 99, recomputed" in replayed.out
    figures = command("explain", decision).out
    assert "log_e  99" in figures
    assert "sight" not in figures
