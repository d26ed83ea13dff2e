"""What a rollout knows of the model when it begins: all that was read of stable, whatever was declared."""

import time
import uuid
from dataclasses import replace

import pytest

from app.actions.context import Means
from app.actions.models import register_model, register_version
from app.actions.rollouts import start_rollout
from app.domain.catalog.declarations import Credentials, Feature, Prices, Signature
from app.domain.catalog.models import Model, ModelName, Version, VersionName
from app.domain.evidence.model_evidence import ModelEvidence
from app.domain.evidence.observed import COST, Measure, Observed, ObservedRow, SpreadRow
from app.domain.evidence.tally import TallyKey
from app.domain.guardrails.policy import DEFAULT_POLICY
from app.domain.stats.histogram import Spread, histogram_of
from app.store.evidence import observed

RAIN, V1, V2 = ModelName("rain"), VersionName("v1"), VersionName("v2")
CANARY = Version(RAIN, V2, ("http://127.0.0.1:9001",))
AGES = histogram_of([float(age) for age in range(300)])
WET = histogram_of(["wet"] * 100 + ["dry"] * 200)


async def begun(means: Means, model: Model, stable: Credentials, canary: Version = CANARY) -> ModelEvidence:
    await register_model(means, model, actor="ann")
    await register_version(means, Version(RAIN, V1, ("http://127.0.0.1:9000",), credentials=stable), actor="ann")
    await register_version(means, canary, actor="ann")
    second = int(time.time()) // 10 * 10 - 60
    read = Observed(500, 0, 500, 0, {}, {COST: Measure(500, 1_000.0, 2_000.0)})
    key = TallyKey(second, RAIN, 1, V1)
    rows = (ObservedRow(key, read, 1), SpreadRow(key, Spread(WET, {"age": histogram_of([1.0] * 300)}), 1))
    async with means.database.transaction() as tx:
        await observed.upsert(tx, str(uuid.uuid4()), rows)
    rollout, _ = await start_rollout(means, RAIN, V2, DEFAULT_POLICY, actor="ann", reason="a new build")
    return rollout.evidence.of_model


async def test_what_a_training_reference_lacks_is_learnt_from_the_hour_before(means: Means) -> None:
    trained = Credentials(reference=Spread(features={"age": AGES}))
    found = await begun(means, Model(RAIN, features=(Feature("age", "/age"),)), trained)
    assert found.usual == Spread(WET, {"age": AGES})


async def test_prices_alone_are_enough_to_know_what_an_answer_usually_costs(means: Means) -> None:
    found = await begun(means, Model(RAIN), Credentials(prices=Prices(per_answer=2.0, cap=10.0)))
    assert found.cost_reference == 2.0
    assert found.usual.predictions == WET


async def test_a_canary_that_declares_its_signature_is_not_held_against_stables(means: Means) -> None:
    declared = replace(CANARY, credentials=Credentials(signature=Signature(classes=("wet", "dry", "hail"))))
    assert not (await begun(means, Model(RAIN), Credentials(), declared)).learns_signature


@pytest.mark.parametrize("signature", [None, Signature(predictions_min=1)])
async def test_a_canary_that_does_not_say_what_it_predicts_is(means: Means, signature: Signature | None) -> None:
    canary = replace(CANARY, credentials=Credentials(signature=signature))
    assert (await begun(means, Model(RAIN), Credentials(), canary)).learns_signature
