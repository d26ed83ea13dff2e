"""How much proof and how much harm: what a rollout's owner may choose, as plain values.

Rule: `guardrails` gives them their meaning, completes and checks them.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import NewType

from app.domain.catalog.offline import OfflineLimit

Metric = NewType("Metric", str)
"""The name of a kind of guardrail; `guardrails.registry` has them all."""


class OnRegression(StrEnum):
    """What follows when a guardrail has proof that the canary is worse."""

    ROLLBACK = "rollback"
    HOLD = "hold"  # the lowest weight, for a person to decide
    WARN = "warn"  # told, and nothing else


class OnDeadline(StrEnum):
    """What an undecided rollout does when its time is over."""

    HOLD = "hold"
    ROLLBACK = "rollback"
    PROMOTE_IF_BELOW = "promote_if_below"  # if its excess of bad answers is bounded by deadline_margin


@dataclass(frozen=True, slots=True)
class Guardrail:  # ADR 0070
    """One limit: what is watched, how much worse is worse, and what follows.

    Every number that means something for the metric is there, so that a stored policy says all that it meant:
    `guardrails.policy` completes what people leave out.

    Attributes:
        on_regression: What proof that the canary is worse leads to.
        required: Whether promotion waits for the proof that the canary is not worse.
        dry_run: Judged and shown, and never acts.
        margin: How much worse is still called not worse, relative: to stable's bad rate, to its quantile.
        floor: The same, absolute: a share for rates, milliseconds for latency. Of a rate the greater of
            the two counts, of latency their sum.
        quantile: The latency quantile that must be proven not worse.
        of: Of labels: which of the model's declared metrics; None is the first one.
    """

    metric: Metric
    on_regression: OnRegression = OnRegression.ROLLBACK
    required: bool = True
    dry_run: bool = False
    margin: float | None = None
    floor: float | None = None
    quantile: float | None = None
    of: str | None = None

    @property
    def turns_back(self) -> bool:
        """Whether its proof turns the canary back; only such guardrails share the chance of a false alarm."""
        return self.on_regression is OnRegression.ROLLBACK and not self.dry_run

    @property
    def is_waited_for(self) -> bool:
        """Whether promotion waits for its proof that the canary is not worse."""
        return self.required and self.on_regression is not OnRegression.WARN and not self.dry_run

    @property
    def margins(self) -> tuple[float, float]:
        """Margin and floor as numbers; nothing where the metric has none."""
        return self.margin or 0.0, self.floor or 0.0


@dataclass(frozen=True, slots=True)
class Policy:
    """How much proof and how much harm; statistics in docs/statistics.md.

    Attributes:
        alpha_rollback: Chance that a healthy rollout is ever turned back.
        alpha_promotion: Chance that a version on the margin is promoted, per guardrail.
        freeze_at, thaw_below: Combined e-value that holds the weight, and that lets it go on.
        max_extra_bad: Expected extra bad answers one step may cost, the exposure budget.
        max_unlabelled: Answers of the canary that may be waiting for labels at once, while promotion waits for them.
        max_weight_bp: Highest weight before promotion.
        warmup_s: Seconds of probes only before the first exchange.
        coverage_s: Least seconds between first exchange and promotion.
        deadline_s: Seconds from start to expiry; hold_s: seconds a paused or frozen rollout may
            stay so.
        deadline_margin: Of PROMOTE_IF_BELOW: the excess of bad answers that is still let through unproven.
        error_ceiling: Share of bad answers that the canary must never exceed, whatever stable does.
        watch_s: Seconds after a promotion in which the version before keeps a little traffic; 0 is none.
        standby_bp: How much of it.
        offline: What the canary's offline evaluation must not fall short of, or the rollout does not begin.
        guardrails: What judges this rollout; those that turn back share alpha_rollback.
    """

    alpha_rollback: float = 0.01
    alpha_promotion: float = 0.05
    freeze_at: float = 10.0
    thaw_below: float = 3.0
    max_extra_bad: float = 5.0
    max_unlabelled: int = 5_000
    max_weight_bp: int = 5_000
    warmup_s: float = 5.0
    coverage_s: float = 0.0
    deadline_s: float = 7 * 86_400.0
    hold_s: float = 86_400.0
    on_deadline: OnDeadline = OnDeadline.HOLD
    deadline_margin: float | None = None
    error_ceiling: float | None = None
    watch_s: float = 86_400.0
    standby_bp: int = 100
    offline: tuple[OfflineLimit, ...] = ()
    guardrails: tuple[Guardrail, ...] = field(kw_only=True)

    def live(self, metric: str) -> Guardrail | None:
        """The guardrail of this metric that may act; None if there is none."""
        return next((each for each in self.guardrails if each.metric == metric and not each.dry_run), None)
