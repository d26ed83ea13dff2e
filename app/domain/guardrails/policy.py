"""Policies as people write them: what is left out is completed, what cannot be is refused."""

from collections.abc import Sequence
from dataclasses import replace
from math import nan
from typing import Any, Final

from app.domain.catalog.models import Model
from app.domain.catalog.offline import LIMITS_MAX, OfflineLimit
from app.domain.catalog.policy import Guardrail, Metric, OnDeadline, OnRegression, Policy
from app.domain.guardrails import errors
from app.domain.guardrails.kind import GuardrailKind, of_every_model
from app.domain.guardrails.registry import KINDS, kind_of
from app.errors import InvalidInput


def guardrail(metric: str, **given: Any) -> Guardrail:  # noqa: ANN401 -- the fields of a guardrail
    """The guardrail with what is given; the rest is as usual for its kind. Raises: InvalidInput: unknown metric."""
    return replace(kind_of(metric).usual, **given)


# What every model can be judged by; the others need something declared.
EVERY_MODEL: Final = tuple(kind.usual for kind in KINDS.values() if kind.is_usual is of_every_model)
DEFAULT_POLICY: Final = Policy(guardrails=EVERY_MODEL)


def default_guardrails(model: Model) -> tuple[Guardrail, ...]:
    """What judges a rollout of this model whose policy names nothing: all that the model declares something for."""
    return tuple(kind.usual for kind in KINDS.values() if kind.is_usual(model))


def completed(policy: Policy, model: Model, field: str = "/policy") -> Policy:
    """The policy with what its guardrails take from the model.

    Raises:
        InvalidInput: A guardrail needs what the model does not declare.
    """
    guardrails = tuple(
        kind_of(each.metric).completed(each, model, f"{field}/guardrails/{place}")
        for place, each in enumerate(policy.guardrails)
    )
    return policy if guardrails == policy.guardrails else replace(policy, guardrails=guardrails)


def with_exposure_bounded(named: tuple[Guardrail, ...]) -> tuple[Guardrail, ...]:
    """As named; errors are added behind them, so that a place in an error is the caller's."""
    if any(each.metric == errors.KIND.metric for each in named):
        return named
    return (*named, errors.KIND.usual)


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
        kind = kind_of(guardrail.metric, f"{field}/{place}/metric")
        if guardrail.of is not None and not kind.takes_of:
            raise InvalidInput(f"{field}/{place}/of", f"means nothing for {guardrail.metric}")
        _check_numbers(guardrail, kind, f"{field}/{place}")
    bounding = policy.live(errors.KIND.metric)
    if bounding is None or not bounding.required or bounding.on_regression is OnRegression.WARN:
        raise InvalidInput(
            field, "must contain errors, live, required and more than a warning: they bound the exposure"
        )


def _check_numbers(guardrail: Guardrail, kind: GuardrailKind, field: str) -> None:
    for name in ("margin", "floor", "quantile"):
        value = getattr(guardrail, name)
        if name in kind.ranges:
            # Whoever leaves a number out that means something would be judged by none.
            _check_range(f"{field}/{name}", nan if value is None else value, *kind.ranges[name])
        elif value is not None:
            raise InvalidInput(f"{field}/{name}", f"means nothing for {guardrail.metric}")
