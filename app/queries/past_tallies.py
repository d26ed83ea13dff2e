"""The rows a rollout was judged by, read again as long as they are kept."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from app.domain.evidence.tally import Horizon, TallyRow, Watermark
from app.domain.rollout.rollout import Rollout
from app.store.evidence import randomization_units
from app.store.evidence.past_tallies import Whose, summed
from app.store.pg.database import Transaction
from app.store.rollouts import rollouts
from app.store.routing import routes


@dataclass(frozen=True, slots=True)
class Past:
    """Where a rollout's rows are found.

    Attributes:
        rollout: Read through the seconds that bound what is read again.
        started_generation: The first generation of its evidence; of a sticky model also its callers' salt.
        weights_bp: Generation to the canary's weight.
    """

    rollout: Rollout
    started_generation: int
    weights_bp: Mapping[int, int]

    @property
    def final(self) -> Watermark:
        """How far the evidence was read, by horizon."""
        read = self.rollout.evidence.read_through
        return Watermark(read[Horizon.STATUS], read[Horizon.LATENCY])

    @property
    def last_s(self) -> int:
        """The last second that was read for anything."""
        return max(self.final.status, self.final.latency)


@dataclass(frozen=True, slots=True)
class PastRows:
    """What `absorb` wants: `exposed` only where `rows` are first exchanges of callers."""

    rows: tuple[TallyRow, ...]
    exposed: tuple[TallyRow, ...] = ()


async def past_of(tx: Transaction, rollout: Rollout) -> Past:
    """Where to read; the rollout is the stored one, or as it was at some decision. Raises: UnknownRollout."""
    started = (await rollouts.rollout(tx, rollout.id)).started_generation
    return Past(rollout, started, await routes.canary_weights(tx, rollout.model, rollout.canary, started))


async def rows_between(tx: Transaction, past: Past, after: int, through: int, step: int = 1) -> PastRows:
    """The rows of seconds in (after, through], summed over `step` seconds."""
    rollout = past.rollout
    arms = (rollout.stable, rollout.canary)
    whose = Whose(rollout.model, *arms, past.final, past.started_generation)
    rows = await summed(tx, whose, after, through, step=step)
    if not rollout.evidence.per_caller:
        return PastRows(rows)
    most = min(through, past.final.status)
    firsts = await randomization_units.mature(tx, rollout.model, past.started_generation, arms, after, most)
    return PastRows(tuple(_in_last_second(row, after, through, step) for row in firsts), rows)


def _in_last_second(row: TallyRow, after: int, through: int, step: int) -> TallyRow:
    """The row in the last second of its step, where summed tallies stand."""
    last = after + ((row.key.second - after - 1) // step + 1) * step
    return replace(row, key=replace(row.key, second=min(last, through)))
