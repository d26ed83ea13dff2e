"""The client and a real gateway: what it labels turns a version back, whose answers are all 200."""

import asyncio
from collections import Counter

import orjson
from system.processes import Admin, Gateway, Stage
from turnback_client import AsyncTurnback, Turnback

DECLARED = {
    "observation": {"prediction": "/outputs/0/data/0"},
    "feedback": {"metrics": [{"name": "right", "kind": "accuracy", "threshold": 0.5, "horizon_s": 1.0}]},
}
# Small numbers, so that proof takes seconds; the rules are the same.
QUICK = {
    "warmup_s": 0.5,
    "max_extra_bad": 200.0,
    "alpha_rollback": 0.1,
    "guardrails": [{"metric": "errors"}, {"metric": "labels"}],
}
AT_ONCE = 4
PAUSE_S = 0.02


class Callers:
    """Programs that ask, and say afterwards that the right answer would have been 1."""

    def __init__(self, gateway: Gateway) -> None:
        self.answers: Counter[tuple[str | None, int]] = Counter()
        self.ids: list[str | None] = []
        self.joined = 0
        self.done = asyncio.Event()
        self._url = gateway.url("inference")

    async def ask(self) -> None:
        async with AsyncTurnback(self._url) as client:
            while not self.done.is_set():
                async with client.batch() as batch:
                    for _ in range(20):
                        await batch.add(await self._receipt(client), label=1)
                        await asyncio.sleep(PAUSE_S)
                self.joined += batch.outcome.joined

    async def _receipt(self, client: AsyncTurnback) -> str | None:
        answer = await client.infer("judged", {"inputs": []})
        self.answers[answer.version, answer.status_code] += 1
        if answer.version == "v2":
            self.ids.append(answer.request_id)
        return answer.receipt


async def test_labels_that_the_client_brings_back_turn_a_wrong_version_back_and_its_answers_are_recalled() -> None:
    async with Stage() as stage:
        gateway = await stage.gateway("all", tick_interval_s="0.5")
        admin = stage.admin(gateway)
        right, wrong = await stage.model_server("right", says=0.9), await stage.model_server("wrong", says=0.1)
        await admin("POST", "/models", name="judged", **DECLARED)
        await admin.register_versions("judged", v1=right, v2=wrong)
        await gateway.serves("judged")
        callers = Callers(gateway)
        asking = [asyncio.create_task(callers.ask()) for _ in range(AT_ONCE)]
        await asyncio.sleep(1)
        rollout = await admin("POST", "/models/judged/rollouts", canary="v2", policy=QUICK, reason="a wrong one")
        ended = await admin.phase_after(rollout["id"], "rolled_back", "promoted")
        await asyncio.sleep(1)
        callers.done.set()
        await asyncio.gather(*asking)
        assert ended["phase"] == "rolled_back"
        assert {status for _, status in callers.answers} == {200}
        assert callers.joined > 0
        (decision,) = [
            each for each in (await admin("GET", "/decisions?model=judged"))["items"] if each["action"] == "roll_back"
        ]
        assert decision["trigger"] == "labels"
        assert await _recalled(admin, len(callers.ids)) == sorted(map(str, callers.ids))


async def _recalled(admin: Admin, count: int) -> list[str]:
    """The ids of the recall's list, as soon as it has as many or will not have them."""
    (recall,) = (await admin("GET", "/recalls?model=judged"))["items"]
    for _ in range(50):
        listed = await admin.http.get(f"/recalls/{recall['id']}/answers")
        ids = sorted(line["request_id"] for line in map(orjson.loads, listed.text.splitlines()))
        if len(ids) >= count:
            break
        await asyncio.sleep(0.2)
    return ids


async def test_the_same_label_counts_once_and_a_correction_and_a_foreign_receipt_are_told_apart() -> None:
    async with Stage() as stage:
        gateway = await stage.gateway("all")
        admin = stage.admin(gateway)
        await admin("POST", "/models", name="judged", **DECLARED)
        await admin.register_versions("judged", v1=await stage.model_server("right", says=0.9))
        await gateway.serves("judged")

        def label() -> None:
            with Turnback(gateway.url("inference")) as client:
                receipt = client.infer("judged", {"inputs": []}).receipt
                assert client.feedback(receipt, label=1).joined == 1
                assert client.feedback(receipt, label=1).duplicate == 1
                assert client.feedback(receipt, label=0, supersedes=1).joined == 1
                refused = client.feedback("1:made:up", label=1)
                assert (refused.invalid, [each.result for each in refused.problems]) == (1, ["invalid"])
                with client.prediction("judged", {"inputs": []}) as prediction:
                    prediction.label(1)

        await asyncio.to_thread(label)
        assert await gateway.stop() == 0
