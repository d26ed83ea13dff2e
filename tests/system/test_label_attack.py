"""A stranger labels answers in advance and by guessing, so that a version that is always wrong looks right."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from secrets import token_hex
from typing import Any

import httpx
import pytest
from system.processes import Gateway, Stage

# The truth is 1: stable says so, the canary says 0. Who has 0 believed turns it round.
TRUTH, LIE = 1, 0
DECLARED = {
    "observation": {"prediction": "/outputs/0/data/0"},
    "feedback": {
        "metrics": [{"name": "right", "kind": "accuracy", "threshold": 0.5, "horizon_s": 2.0}],
        "rows": "all",
        "client_key_header": "x-order",
    },
}
# Small numbers, so that proof takes seconds; the rules are the same.
QUICK = {
    "warmup_s": 0.5,
    "max_extra_bad": 200.0,
    "alpha_rollback": 0.1,
    "guardrails": [{"metric": "errors"}, {"metric": "labels"}],
}
GIVE = "/turnback/v1/feedback"
HONEST, PAUSE_S, NEXT = 4, 0.02, 250


class Caller:
    """One of many programs without a key, and what became of its labels."""

    def __init__(self, gateway: Gateway) -> None:
        self.http = httpx.AsyncClient(base_url=gateway.url("inference"), trust_env=False, timeout=30)
        self.results: Counter[str] = Counter()
        self.done = False

    async def ask(self, order: str) -> httpx.Response:
        answer = await self.http.post("/v2/models/judged/infer", json={"inputs": []}, headers={"x-order": order})
        assert answer.status_code == 200
        return answer

    async def give(self, items: list[dict[str, Any]]) -> None:
        answer = await self.http.post(f"{GIVE}?verbose=true", json=items)
        assert answer.status_code == 202, answer.text
        self.results.update(item["result"] for item in answer.json()["items"])


def by_id(answer: httpx.Response) -> dict[str, Any]:
    return {"model": "judged", "request_id": answer.headers["x-request-id"], "label": TRUTH}


def by_receipt(answer: httpx.Response) -> dict[str, Any]:
    return {"receipt": answer.headers["x-turnback-receipt"], "label": TRUTH}


async def be_honest(caller: Caller, named: Callable[[httpx.Response], dict[str, Any]], number: int) -> None:
    """Ask, and say a moment later what was right."""
    asked = 0
    while not caller.done:
        answers = []
        for _ in range(10):
            answers.append(await caller.ask(f"order-{number}-{asked}"))
            asked += 1
            await asyncio.sleep(PAUSE_S)
        await caller.give([named(answer) for answer in answers])


def guessed(seen: str, asked: int) -> Iterator[dict[str, Any]]:
    """Ids that come after one that was seen, ids that might be one, and names that clients might choose."""
    for ahead in range(1, NEXT):
        yield {"request_id": f"{(int(seen, 16) + ahead) % 2**128:032x}"}
    for _ in range(50):
        yield {"request_id": token_hex(16)}
        yield {"request_id": seen[:16] + token_hex(8)}
    for number in range(HONEST):
        for order in range(asked, asked + 20):
            yield {"client_key": f"order-{number}-{order}"}
            yield {"request_id": f"order-{number}-{order}"}


async def attack(caller: Caller) -> None:
    """Label what others will be answered, before they do."""
    asked = 0
    while not caller.done:
        seen = (await caller.ask("a stranger's")).headers["x-request-id"]
        await caller.give([{"model": "judged", "label": LIE, **name} for name in guessed(seen, asked)])
        asked += 10
        await asyncio.sleep(0.2)


@pytest.mark.parametrize("named", [by_id, by_receipt])
async def test_a_stranger_who_labels_in_advance_is_not_heard_and_the_wrong_version_is_turned_back(
    named: Callable[[httpx.Response], dict[str, Any]],
) -> None:
    async with Stage() as stage:
        gateway = await stage.gateway("all", tick_interval_s="0.5")
        admin = stage.admin(gateway)
        right, wrong = await stage.model_server("right", says=0.9), await stage.model_server("wrong", says=0.1)
        await admin("POST", "/models", name="judged", **DECLARED)
        await admin.register_versions("judged", v1=right, v2=wrong)
        await gateway.serves("judged")
        honest, stranger = [Caller(gateway) for _ in range(HONEST)], Caller(gateway)
        tasks = [asyncio.create_task(attack(stranger))]
        await asyncio.sleep(0.5)
        tasks += [asyncio.create_task(be_honest(each, named, number)) for number, each in enumerate(honest)]
        rollout = await admin("POST", "/models/judged/rollouts", canary="v2", policy=QUICK, reason="a wrong one")
        ended = await admin.phase_after(rollout["id"], "rolled_back", "promoted", within_s=90.0)
        for each in (*honest, stranger):
            each.done = True
        await asyncio.gather(*tasks)
        told = sum((each.results for each in honest), Counter[str]())
        print(f"phase {ended['phase']}; honest labels {dict(told)}; the stranger's {dict(stranger.results)}")  # noqa: T201
        assert ended["phase"] == "rolled_back"
        assert set(told) <= {"joined", "pending"}
        assert set(stranger.results) == {"unknown"}
        assert await _all_joined(admin, sum(told.values()))
        (decision,) = [
            each for each in (await admin("GET", "/decisions?model=judged"))["items"] if each["action"] == "roll_back"
        ]
        assert decision["trigger"] == "labels"
        for each in (*honest, stranger):
            await each.http.aclose()


async def _all_joined(admin: Any, wanted: int) -> bool:  # noqa: ANN401 -- the admin API as a person uses it
    """Whether so many labels are there before long, and none waits."""
    for _ in range(100):
        told = await admin("GET", "/models/judged/feedback")
        if told["waiting"] == 0 and sum(each["labels"] for each in told["counted"]) == wanted:
            return True
        await asyncio.sleep(0.1)
    return False
