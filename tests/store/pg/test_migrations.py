"""Migrations and tables say the same, and every step has a way back."""

import json
from dataclasses import replace
from typing import Any

import psycopg
import pytest
from alembic import command
from psycopg.types.json import Jsonb

from app.domain.catalog.policy import OnDeadline, OnRegression
from app.domain.evidence.evidence import ArmCounts, SlowLimit
from app.domain.evidence.labels import Rank
from app.domain.evidence.tally import Outcome
from app.domain.guardrails.policy import DEFAULT_POLICY, guardrail
from app.store.pg import migrate
from app.store.pg.codec import rollout_from_json


def test_the_migrations_make_exactly_the_tables_of_the_code(database_url: str) -> None:
    command.check(migrate.config(database_url))


def test_every_migration_can_be_taken_back_and_applied_again(database_url: str) -> None:
    command.downgrade(migrate.config(database_url), "base")
    with psycopg.connect(database_url) as connection:
        left = connection.execute("SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace").fetchall()
    assert {name for (name,) in left} == {"alembic_version", "alembic_version_pkc"}
    migrate.upgrade(database_url)
    command.check(migrate.config(database_url))


OLD_POLICY = {
    "alpha_rollback": 0.01,
    "alpha_promotion": 0.05,
    "freeze_at": 10.0,
    "thaw_below": 3.0,
    "exposure_budget": 0.30000000000000004,
    "max_weight_bp": 5000,
    "warmup_s": 5.0,
    "coverage_s": 0.0,
    "deadline_s": 604800.0,
    "hold_s": 86400.0,
    "on_deadline": "roll_back",
    "latency_margin": 0.1,
    "latency_floor_ms": 2.5,
    "slo_quantile": 0.98,
    "error_margin": 0.4,
    "error_margin_floor": 0.02,
    "metrics": ["latency", "errors"],
}
OLD_EVIDENCE = {
    "stable": "v1",
    "canary": "v2",
    "started_s": 1900000000,
    "read_through": {"status": 1900000009, "latency": 1900000009},
    "error_reference": 0.001,
    "levels": [0.5, 0.98],
    "latency_margin": 0.1,
    "latency_floor_ms": 2.5,
    "by_weight": {},
    "thresholds": [
        {"level": 0.5, "stable_bin": 500, "canary_bin": 520},
        {"level": 0.98, "stable_bin": 600, "canary_bin": 620},
    ],
    "stable_bins": {},
    "recent": [4, 5],
    "recent_exchanges": None,
}
OLD_ROLLOUT = {
    "id": "0198c0de-0000-7000-8000-000000000000",
    "model": "fraud",
    "stable": "v1",
    "canary": "v2",
    "policy": OLD_POLICY,
    "evidence": OLD_EVIDENCE,
    "started_at": "2030-03-17T17:46:40Z",
    "phase": "ramping",
    "phase_since": "2030-03-17T17:46:41Z",
    "phase_deadline": "2030-03-24T17:46:40Z",
    "decide_by": "2030-03-24T17:46:40Z",
    "held_from": None,
    "frozen_by": None,
    "weight_bp": 1,
    "first_exposed_at": "2030-03-17T17:46:41Z",
    "brake_open_since": None,
}
OLD_DECISION = {"stable": "v1", "policy": OLD_POLICY, "numbers": {"weight_bp": 0}}
BY_HAND = {"weights": "by hand, without a policy"}
NEW_POLICY = replace(
    DEFAULT_POLICY,
    max_extra_bad=0.30000000000000004,
    on_deadline=OnDeadline.ROLLBACK,
    guardrails=(
        guardrail("latency", margin=0.1, floor=2.5, quantile=0.98),
        guardrail("errors", margin=0.4, floor=0.02),
    ),
)


def test_what_was_stored_before_guardrails_had_names_of_their_own_is_read_and_given_back(database_url: str) -> None:
    command.downgrade(migrate.config(database_url), "0003")
    with psycopg.connect(database_url) as connection:
        _store(connection)
    migrate.upgrade(database_url)
    with psycopg.connect(database_url) as connection:
        (state,) = connection.execute("SELECT state::text FROM rollouts").fetchone() or (None,)
        decided, by_hand = (row[0] for row in connection.execute("SELECT evidence FROM decisions ORDER BY id"))
    rollout = rollout_from_json(state)
    assert rollout.policy == NEW_POLICY
    assert rollout.evidence.limits == (SlowLimit(0.5, 0.1, 2.5), SlowLimit(0.98, 0.1, 2.5))
    assert decided["policy"] == json.loads(state)["policy"]
    assert by_hand == BY_HAND
    command.downgrade(migrate.config(database_url), "0003")
    with psycopg.connect(database_url) as connection:
        assert connection.execute("SELECT state FROM rollouts").fetchone() == (OLD_ROLLOUT,)
        assert [row[0] for row in connection.execute("SELECT evidence FROM decisions ORDER BY id")] == [
            OLD_DECISION,
            BY_HAND,
        ]
    migrate.upgrade(database_url)


SUMMED = {
    "canary": {"drawn": 9, "ended": 8, "judged": 7, "errors": 2, "timeouts": 1, "timed": 3, "slow": [1], "awaited": 4},
    "stable": {"drawn": 0, "ended": 0, "judged": 0, "errors": 0, "timeouts": 0, "timed": 0, "slow": [], "awaited": 0},
}


@pytest.mark.parametrize("exchanges", [None, [], [4, 5]])
def test_outcomes_that_were_summed_up_are_told_apart_and_given_back(
    database_url: str, exchanges: list[int] | None
) -> None:
    evidence = {**OLD_EVIDENCE, "by_weight": {"100": SUMMED}, "recent_exchanges": exchanges}
    command.downgrade(migrate.config(database_url), "0003")
    with psycopg.connect(database_url) as connection:
        _store(connection)
        connection.execute("UPDATE rollouts SET state = %s", [Jsonb({**OLD_ROLLOUT, "evidence": evidence})])
    migrate.upgrade(database_url)
    with psycopg.connect(database_url) as connection:
        (state,) = connection.execute("SELECT state::text FROM rollouts").fetchone() or (None,)
    read = rollout_from_json(state).evidence
    assert (read.per_caller, read.recent_exchanges) == (exchanges is not None, tuple(exchanges or ()))
    assert read.by_weight[100].stable == ArmCounts()
    canary = read.by_weight[100].canary
    assert canary.outcomes == {Outcome.OK: 4, Outcome.UPSTREAM_ERROR: 2, Outcome.TIMEOUT: 1, Outcome.CANCELLED: 1}
    assert {name: getattr(canary, name) for name in SUMMED["canary"]} == {**SUMMED["canary"], "slow": (1,)}
    command.downgrade(migrate.config(database_url), "0003")
    with psycopg.connect(database_url) as connection:
        (given_back,) = connection.execute("SELECT state -> 'evidence' FROM rollouts").fetchone() or (None,)
    assert given_back == evidence
    migrate.upgrade(database_url)


def test_what_the_older_form_cannot_say_is_dropped_and_errors_stay(database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        latency = {"metric": "latency", "on_regression": OnRegression.HOLD, "required": True, "dry_run": False}
        trial = {"metric": "latency", "on_regression": OnRegression.ROLLBACK, "required": True, "dry_run": True}
        errors = {"metric": "errors", "on_regression": OnRegression.HOLD, "required": True, "dry_run": False}
        numbers = {"margin": 0.5, "floor": 0.01, "quantile": None}
        named = [latency | numbers, trial | numbers, errors | numbers]
        _store(connection, {"policy": {"max_extra_bad": 5.0, "on_deadline": "hold", "guardrails": named}})
    command.downgrade(migrate.config(database_url), "0003")
    with psycopg.connect(database_url) as connection:
        rows = connection.execute("SELECT evidence -> 'policy' FROM decisions ORDER BY id").fetchall()
    assert rows[0][0]["metrics"] == ["errors"]
    assert (rows[0][0]["error_margin"], rows[0][0]["latency_margin"], rows[0][0]["slo_quantile"]) == (0.5, 0.5, None)
    migrate.upgrade(database_url)


def _store(connection: psycopg.Connection[Any], decided: object = None) -> None:
    """A model, its rollout in the form of revision 0003 unless `decided` is given, and two decisions."""
    connection.execute("INSERT INTO models (name) VALUES ('fraud')")
    for version in ("v1", "v2"):
        connection.execute(
            """
            INSERT INTO versions (model, name, urls, connect_s, first_byte_s, idle_s, total_s)
            VALUES ('fraud', %s, ARRAY['http://127.0.0.1:1'], 1, 1, 1, 1)
            """,
            [version],
        )
    if decided is None:
        connection.execute(
            """
            INSERT INTO rollouts (id, model, stable, canary, phase, weight_bp, generation, started_generation,
                                  started_at, state)
            VALUES (%s, 'fraud', 'v1', 'v2', 'ramping', 1, 2, 2, now(), %s)
            """,
            [OLD_ROLLOUT["id"], Jsonb(OLD_ROLLOUT)],
        )
    for number, evidence in enumerate((decided or OLD_DECISION, BY_HAND), start=1):
        connection.execute(
            """
            INSERT INTO decisions (id, model, at, action, actor, trigger, sentence, generation_before,
                                   generation_after, weights_before, weights_after, evidence)
            VALUES (%s, 'fraud', now(), 'start', 'ada', 'operator', 'x', %s, %s, '{}', '{}', %s)
            """,
            [f"0198c0de-0000-7000-8000-00000000000{number}", number, number + 1, Jsonb(evidence)],
        )


def test_labels_from_before_ranks_have_the_lowest_that_their_source_can_have(database_url: str) -> None:
    command.downgrade(migrate.config(database_url), "0005")
    with psycopg.connect(database_url) as connection:
        connection.execute("INSERT INTO models (name) VALUES ('fraud')")
        for source in ("anonymous", "ann"):
            connection.execute(
                """
                INSERT INTO labels (exchange, metric, source, revision, second, model, version, generation, label,
                                    slices, received_at)
                VALUES (gen_random_uuid(), 'accuracy', %s, 1, 1, 'fraud', 'v1', 1, '1', '{}', now())
                """,
                [source],
            )
            connection.execute(
                """
                INSERT INTO parked_labels (model, named_by, handle, metric, source, revision, label, received_at)
                VALUES ('fraud', 'request_id', 'r', 'accuracy', %s, 1, '1', now())
                """,
                [source],
            )
    migrate.upgrade(database_url)
    with psycopg.connect(database_url) as connection:
        kept = connection.execute("SELECT source, by_receipt FROM labels ORDER BY source").fetchall()
        waiting = connection.execute("SELECT source FROM parked_labels").fetchall()
    assert {Rank.of(source, by_receipt=by_receipt) for source, by_receipt in kept} == {Rank.ANONYMOUS_NAME, Rank.KEY}
    # Who waited without a key by a name that could be foretold waits no longer.
    assert waiting == [("ann",)]
    command.downgrade(migrate.config(database_url), "0005")
    with psycopg.connect(database_url) as connection:
        assert connection.execute("SELECT count(*) FROM labels").fetchone() == (2,)
    migrate.upgrade(database_url)
