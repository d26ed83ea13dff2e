"""Rollouts and policies as the admin API takes them in, turned into domain values here and nowhere else."""

from dataclasses import replace
from typing import Annotated, Any

from pydantic import Field, Strict

from app.admin.fields import Name, Reason
from app.admin.metrics import MetricName
from app.domain.catalog.models import VersionName, version_name
from app.domain.catalog.offline import LIMITS_MAX, OfflineLimit
from app.domain.catalog.policy import Guardrail, OnDeadline, OnRegression, Policy
from app.domain.guardrails.policy import DEFAULT_POLICY, EVERY_MODEL, check_policy, guardrail, with_exposure_bounded
from app.web.strict_body import Body


class GuardrailBody(Body):
    """One limit; what is not given is the metric's default."""

    metric: MetricName
    on_regression: Annotated[
        Annotated[OnRegression, Strict(False)] | None,
        Field(description="Absent: as usual for the metric, mostly rollback."),
    ] = None
    required: Annotated[
        bool | None, Field(description="Whether promotion waits for the proof that the canary is not worse.")
    ] = None
    dry_run: Annotated[bool | None, Field(description="Judged and shown; never acts.")] = None
    margin: Annotated[float | None, Field(description="Relative to stable's bad rate or quantile.")] = None
    floor: Annotated[float | None, Field(description="A share for rates, milliseconds for latency.")] = None
    quantile: Annotated[float | None, Field(description="Latency only: the quantile that must be proven.")] = None
    of: Annotated[
        Name | None, Field(description="Labels only: which of the model's declared metrics; else its first.")
    ] = None

    def to_domain(self) -> Guardrail:
        return guardrail(**_given(self))


class OfflineLimitBody(Body):
    """What the canary's offline evaluation must not fall short of, or the rollout does not begin."""

    metric: Name
    margin: Annotated[float, Field(description="How much worse than stable's is let through, in its unit.")] = 0.0
    lower_is_better: bool = False

    def to_domain(self) -> OfflineLimit:
        return OfflineLimit(self.metric, self.margin, self.lower_is_better)


class PolicyBody(Body):
    """How much proof and how much harm; what is not given is the default."""

    alpha_rollback: float | None = None
    alpha_promotion: float | None = None
    freeze_at: float | None = None
    thaw_below: float | None = None
    max_extra_bad: Annotated[float | None, Field(description="Expected extra bad answers that one step may cost.")] = (
        None
    )
    max_unlabelled: Annotated[
        int | None, Field(description="Answers of the canary that may wait for labels at once, if promotion does.")
    ] = None
    max_weight_bp: int | None = None
    warmup_s: float | None = None
    coverage_s: float | None = None
    deadline_s: float | None = None
    hold_s: float | None = None
    on_deadline: Annotated[OnDeadline, Strict(False)] | None = None
    deadline_margin: Annotated[
        float | None, Field(description="Of promote_if_below: the excess of bad answers let through unproven.")
    ] = None
    error_ceiling: Annotated[
        float | None, Field(description="Share of bad answers the canary must not exceed, whatever stable does.")
    ] = None
    watch_s: Annotated[
        float | None, Field(description="Seconds after a promotion in which the version before is kept; 0 is none.")
    ] = None
    standby_bp: Annotated[int | None, Field(description="The weight it keeps meanwhile, to be compared with.")] = None
    offline: Annotated[
        Annotated[tuple[OfflineLimitBody, ...], Strict(False), Field(max_length=LIMITS_MAX)] | None,
        Field(description="What the canary's offline evaluation must not fall short of."),
    ] = None
    guardrails: Annotated[
        Annotated[tuple[GuardrailBody, ...], Strict(False)] | None,
        Field(
            max_length=16,
            description="Absent: errors, timeouts, latency, and what the model declares: validity if it is observed,"
            " labels, slices. Errors are judged even if not named.",
        ),
    ] = None

    def to_domain(self, usual: tuple[Guardrail, ...] = EVERY_MODEL) -> Policy:
        """The policy. Raises: InvalidInput.

        Args:
            usual: The guardrails of a policy that names none.
        """
        given = {"guardrails": usual, **_given(self)}
        if self.guardrails is not None:
            given["guardrails"] = with_exposure_bounded(tuple(each.to_domain() for each in self.guardrails))
        if self.offline is not None:
            given["offline"] = tuple(each.to_domain() for each in self.offline)
        return check_policy(replace(DEFAULT_POLICY, **given))


def _given(body: Body) -> dict[str, Any]:
    return {name: value for name in body.model_fields_set if (value := getattr(body, name)) is not None}


class RolloutBody(Body):
    """A rollout to start."""

    canary: Name
    policy: PolicyBody | None = None
    reason: Reason

    def canary_name(self) -> VersionName:
        return version_name(self.canary, "/canary")


class ActionBody(Body):
    """Why a person does something to a rollout."""

    reason: Reason
    force: Annotated[bool, Field(description="Shift traffic even to a version that does not answer its probe.")] = False
