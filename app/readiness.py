"""What a process says about itself at /readyz: what is not as it should be, why, and for how long.

Rule: a data plane is ready as soon as it has a table, whatever has become of Postgres since: stable serves for ever.
"""

from collections.abc import Iterable, Iterator, Mapping

from app.domain.catalog.models import ModelName
from app.loops import Heard
from app.ops import Check
from app.replica.replica import Status
from app.replica.routing import Unreadable
from app.store.pg.contact import Contact


def of_replica(status: Status, revision: int, open_brakes: Iterable[str]) -> Iterator[tuple[str, Check]]:
    """What a data plane needs. Args: revision: of the table in force, negative before the first."""
    where = "read from disk" if status.from_disk else "loaded"
    loaded = revision >= 0
    yield "routing_table", Check(loaded, vital=True, detail=where if loaded else "not loaded yet")
    withheld = "withheld" if status.canary_withheld else _withheld(status.unreadable)
    yield "canaries", Check(not withheld, vital=False, detail=withheld or "as routed")
    unreadable = _unreadable(status.unreadable)
    yield "models", Check(not unreadable, vital=False, detail=unreadable or "readable")
    brakes = ", ".join(open_brakes)
    yield "brakes", Check(not brakes, vital=False, detail=brakes or "none open")


def of_database(contacts: Iterable[Contact], *, vital: bool) -> Check:
    """Whether all that goes to Postgres gets there."""
    known = tuple(contacts)
    troubles = [f"{each.loop}: {each.why} for {_age(each.failing_s)}" for each in known if each.failing_s is not None]
    if troubles:
        return Check(ok=False, vital=vital, detail="; ".join(troubles))
    if not any(each.up for each in known):
        return Check(ok=False, vital=vital, detail="not tried yet")
    return Check(ok=True, vital=vital, detail="reachable")


def of_loops(silent: Iterable[Heard]) -> Check:
    """Whether every loop was heard of in time."""
    names = ", ".join(f"{each.name} silent for {_age(each.age_s)}" for each in silent)
    return Check(not names, vital=False, detail=names or "all heard of")


def of_rollouts(unreadable: Mapping[ModelName, str]) -> Check:
    """Whether every rollout and standby can be judged."""
    names = "; ".join(f"{name}: {why}" for name, why in sorted(unreadable.items()))
    return Check(not names, vital=False, detail=f"unreadable: {names}" if names else "readable")


def _withheld(unreadable: Mapping[ModelName, Unreadable]) -> str:
    names = ", ".join(sorted(name for name, each in unreadable.items() if each.withheld))
    return f"withheld of {names}" if names else ""


def _unreadable(unreadable: Mapping[ModelName, Unreadable]) -> str:
    return "; ".join(
        f"{name} unreadable for {_age(each.age_s)}: {each.why}" for name, each in sorted(unreadable.items())
    )


def _age(seconds: float | None) -> str:
    return f"{round(seconds or 0.0)} s"
