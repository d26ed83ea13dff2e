"""What the admin API takes in: strict schemas, turned into domain values here and nowhere else."""

from dataclasses import replace
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, Strict, StringConstraints

from app.domain.catalog import Match, Model, ModelName, Timeouts, VersionName, model_name, version_name
from app.domain.policy import Metric, OnDeadline, Policy, check_policy
from app.domain.routing import FULL_BP, Weights, check_weights
from app.errors import InvalidInput

Name = Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
# No control characters: a reason is one line in logs, tables and terminals.
Reason = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=500, pattern=r"^[^\x00-\x1f\x7f]*$"),
    Field(description="Why, in one line; stored with the decision."),
]
Seconds = Annotated[float, Field(ge=0.1, le=86_400)]


class Body(BaseModel):
    """What every request body has in common: nothing unknown, nothing coerced, no NaN."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class MatchBody(Body):
    """Where a model is found beside the paths recognised without configuration."""

    host: Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[a-z0-9.-]+$")] | None = None
    path_prefix: Annotated[str, Field(min_length=1, max_length=512, pattern=r"^/[A-Za-z0-9._~/%:@-]*$")] | None = None


class ModelBody(Body):
    """A model to register."""

    name: Name
    match: MatchBody | None = None
    sticky_header: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[a-z0-9-]+$")] | None = None

    def to_domain(self) -> Model:
        match = None
        if self.match is not None:
            if self.match.host is None and self.match.path_prefix is None:
                raise InvalidInput("/match", "must name a host or a path_prefix")
            match = Match(self.match.host, self.match.path_prefix)
        return Model(model_name(self.name), match, self.sticky_header)


class TimeoutsBody(Body):
    """How long the gateway waits for a version; what is not given is the gateway's default."""

    connect_s: Seconds | None = None
    first_byte_s: Seconds | None = None
    idle_s: Seconds | None = None
    total_s: Seconds | None = None

    def over(self, default: Timeouts) -> Timeouts:
        """The given values, the default's elsewhere."""
        return replace(default, **self.model_dump(exclude_none=True))


class VersionBody(Body):
    """One immutable build behind a model server's address."""

    url: Annotated[str, Field(min_length=1, max_length=512)]
    health_path: Annotated[str, Field(min_length=1, max_length=512, pattern=r"^/[A-Za-z0-9._~/%:@-]*$")] | None = None
    timeouts: TimeoutsBody | None = None


class RouteBody(Body):
    """Weights set by hand."""

    weights_bp: Annotated[
        dict[str, Annotated[int, Field(ge=0, le=FULL_BP)]],
        Field(min_length=1, max_length=8, description="Version to weight in basis points; the sum is 10,000."),
    ]
    reason: Reason

    def to_domain(self) -> Weights:
        named = {version_name(name, f"/weights_bp/{pointer_part(name)}"): bp for name, bp in self.weights_bp.items()}
        return check_weights(named)


class PolicyBody(Body):
    """How much proof and how much harm; what is not given is the default."""

    alpha_rollback: float | None = None
    alpha_promotion: float | None = None
    freeze_at: float | None = None
    thaw_below: float | None = None
    exposure_budget: float | None = None
    max_weight_bp: int | None = None
    warmup_s: float | None = None
    coverage_s: float | None = None
    deadline_s: float | None = None
    hold_s: float | None = None
    on_deadline: Annotated[OnDeadline, Strict(False)] | None = None
    latency_margin: float | None = None
    latency_floor_ms: float | None = None
    slo_quantile: float | None = None
    error_margin: float | None = None
    error_margin_floor: float | None = None
    metrics: Annotated[tuple[Annotated[Metric, Strict(False)], ...], Strict(False)] | None = None

    def to_domain(self) -> Policy:
        given: dict[str, Any] = {
            name: value for name in self.model_fields_set if (value := getattr(self, name)) is not None
        }
        return check_policy(replace(Policy(), **given))


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


def known_name(text: str) -> ModelName:
    """A model's name out of a path; what cannot be a name is simply unknown later."""
    return ModelName(text)


def pointer_part(text: str) -> str:
    """One reference token of a JSON pointer (RFC 6901, section 3)."""
    return text.replace("~", "~0").replace("/", "~1")
