"""How much proof and how much harm: what a rollout's owner may choose."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from app.domain.catalog.models import Model
from app.domain.catalog.offline import LIMITS_MAX, OfflineLimit
from app.errors import InvalidInput


class Metric(StrEnum):
    """What a guardrail watches."""

    ERRORS = "errors"
    TIMEOUTS = "timeouts"
    LATENCY = "latency"
    VALIDITY = "validity"  # answers that say 200 and are wrong in themselves
    LABELS = "labels"  # one of the model's declared measures of quality, on matured cohorts
    SLICES = "slices"  # the worst of the declared slices, by errors, validity and labels
    COST = "cost"
    DRIFT = "drift"  # predictions that differ; by default seen and never acted on


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


# What every model can be judged by; the others need something declared.
EVERY_MODEL = (Metric.ERRORS, Metric.TIMEOUTS, Metric.LATENCY)

# What a guardrail that does not say otherwise uses; a number that is not here has no meaning for the metric.
_DEFAULTS: Mapping[Metric, Mapping[str, float]] = {
    Metric.ERRORS: {"margin": 0.5, "floor": 0.01},
    Metric.TIMEOUTS: {},
    Metric.LATENCY: {"margin": 0.25, "floor": 5.0, "quantile": 0.95},
    Metric.VALIDITY: {"margin": 0.5, "floor": 0.01},
    Metric.LABELS: {"margin": 0.1, "floor": 0.02},
    Metric.SLICES: {},
    Metric.COST: {"margin": 0.25, "floor": 0.0},
    Metric.DRIFT: {"floor": 0.2},
}


@dataclass(frozen=True, slots=True)
class Guardrail:
    """One limit: what is watched, how much worse is worse, and what follows.

    A number that is not given is the metric's default, written out, so that a stored policy says
    all that it meant. Timeouts have no numbers: they are proven together with errors.

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

    def __post_init__(self) -> None:
        for name, default in _DEFAULTS[self.metric].items():
            if getattr(self, name) is None:
                object.__setattr__(self, name, default)

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
    guardrails: tuple[Guardrail, ...] = tuple(map(Guardrail, EVERY_MODEL))

    def live(self, metric: Metric) -> Guardrail | None:
        """The guardrail of this metric that may act; None if there is none."""
        return next((each for each in self.guardrails if each.metric is metric and not each.dry_run), None)

    @property
    def errors(self) -> Guardrail:
        """The guardrail that bounds the exposure; `check_policy` sees to it that there is one."""
        return self.live(Metric.ERRORS) or Guardrail(Metric.ERRORS)


def default_guardrails(model: Model) -> tuple[Guardrail, ...]:
    """What judges a rollout of this model whose policy names nothing: all that the model declares something for."""
    metrics = list(EVERY_MODEL)
    if model.observation is not None:
        metrics.append(Metric.VALIDITY)
    if model.feedback is not None:
        metrics.append(Metric.LABELS)
    if model.slices:
        metrics.append(Metric.SLICES)
    return tuple(map(Guardrail, metrics))


def completed(policy: Policy, model: Model, field: str = "/policy") -> Policy:
    """The policy with every labels guardrail naming its metric.

    Raises:
        InvalidInput: A guardrail needs what the model does not declare.
    """
    guardrails = tuple(
        _completed(each, model, f"{field}/guardrails/{place}") for place, each in enumerate(policy.guardrails)
    )
    return policy if guardrails == policy.guardrails else replace(policy, guardrails=guardrails)


def _completed(guardrail: Guardrail, model: Model, field: str) -> Guardrail:
    if guardrail.metric is Metric.SLICES and not model.slices:
        raise InvalidInput(field, f"model {model.name} declares no slices")
    if guardrail.metric is not Metric.LABELS:
        return guardrail
    if model.feedback is None:
        raise InvalidInput(field, f"model {model.name} declares no feedback")
    of = guardrail.of or model.feedback.metrics[0].name
    if model.feedback.metric(of) is None:
        raise InvalidInput(f"{field}/of", f"model {model.name} declares no metric {of!r}")
    return replace(guardrail, of=of)


# Field, least and greatest value, both allowed.
_RANGES = (
    ("alpha_rollback", 1e-6, 0.2),
    ("alpha_promotion", 1e-6, 0.4),
    ("freeze_at", 1.0, 1e6),
    ("thaw_below", 1.0, 1e6),
    ("max_extra_bad", 1e-3, 1e6),
    ("max_unlabelled", 1, 10**9),
    ("max_weight_bp", 1, 5_000),
    ("warmup_s", 0.0, 86_400.0),
    ("coverage_s", 0.0, 365 * 86_400.0),
    ("deadline_s", 1.0, 365 * 86_400.0),
    ("hold_s", 1.0, 365 * 86_400.0),
    ("deadline_margin", 1e-5, 0.5),
    ("error_ceiling", 1e-5, 1.0),
    ("watch_s", 0.0, 365 * 86_400.0),
    ("standby_bp", 1, 500),
)
# The same of a guardrail's own numbers, by metric.
_GUARDRAIL_RANGES: Mapping[Metric, Mapping[str, tuple[float, float]]] = {
    Metric.ERRORS: {"margin": (0.0, 100.0), "floor": (1e-5, 0.5)},
    Metric.TIMEOUTS: {},
    Metric.LATENCY: {"margin": (0.0, 100.0), "floor": (0.0, 600_000.0), "quantile": (0.5, 0.9999)},
    Metric.VALIDITY: {"margin": (0.0, 100.0), "floor": (1e-5, 0.5)},
    Metric.LABELS: {"margin": (0.0, 100.0), "floor": (1e-5, 0.5)},
    Metric.SLICES: {},
    Metric.COST: {"margin": (0.0, 100.0), "floor": (0.0, 1e6)},
    Metric.DRIFT: {"floor": (0.0, 10.0)},
}


def check_policy(policy: Policy, field: str = "/policy") -> Policy:
    """Return the policy unchanged. Raises: InvalidInput naming the field that cannot be."""
    for name, least, greatest in _RANGES:
        _check_range(f"{field}/{name}", getattr(policy, name), least, greatest)
    if policy.thaw_below > policy.freeze_at:
        raise InvalidInput(f"{field}/thaw_below", "must not lie above freeze_at")
    if (policy.on_deadline is OnDeadline.PROMOTE_IF_BELOW) != (policy.deadline_margin is not None):
        raise InvalidInput(f"{field}/deadline_margin", "must be given for promote_if_below, and for nothing else")
    _check_offline(policy.offline, f"{field}/offline")
    _check_guardrails(policy, f"{field}/guardrails")
    return policy


def _check_offline(limits: Sequence[OfflineLimit], field: str) -> None:
    if len(limits) > LIMITS_MAX:
        raise InvalidInput(field, f"must not hold more than {LIMITS_MAX} limits")
    for place, limit in enumerate(limits):
        if limit.metric in {each.metric for each in limits[:place]}:
            raise InvalidInput(f"{field}/{place}/metric", "was named before")
        _check_range(f"{field}/{place}/margin", limit.margin, 0.0, 1e12)


def _check_range(field: str, value: float | None, least: float, greatest: float) -> None:
    # Written this way round so that NaN is refused too.
    if value is not None and not least <= value <= greatest:
        raise InvalidInput(field, f"must lie between {least:g} and {greatest:g}")


def _check_guardrails(policy: Policy, field: str) -> None:
    seen: set[tuple[Metric, str | None, bool]] = set()
    for place, guardrail in enumerate(policy.guardrails):
        if (guardrail.metric, guardrail.of, guardrail.dry_run) in seen:
            raise InvalidInput(
                f"{field}/{place}", "must not name a metric twice, but once for real and once as a dry run"
            )
        seen.add((guardrail.metric, guardrail.of, guardrail.dry_run))
        if guardrail.of is not None and guardrail.metric is not Metric.LABELS:
            raise InvalidInput(f"{field}/{place}/of", f"means nothing for {guardrail.metric}")
        _check_numbers(guardrail, f"{field}/{place}")
    errors = policy.live(Metric.ERRORS)
    if errors is None or not errors.required or errors.on_regression is OnRegression.WARN:
        raise InvalidInput(
            field, "must contain errors, live, required and more than a warning: they bound the exposure"
        )


def _check_numbers(guardrail: Guardrail, field: str) -> None:
    ranges = _GUARDRAIL_RANGES[guardrail.metric]
    for name in ("margin", "floor", "quantile"):
        value = getattr(guardrail, name)
        if name in ranges:
            _check_range(f"{field}/{name}", value, *ranges[name])
        elif value is not None:
            raise InvalidInput(f"{field}/{name}", f"means nothing for {guardrail.metric}")
