"""Models, versions and routes as the admin API takes them in, turned into domain values here and nowhere else."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated

from pydantic import Field, Strict

from app.actions.routes import RouteChange
from app.admin.fields import Name, Reason, pointer_part
from app.admin.models.declarations import (
    FEATURES_MAX,
    SLICE_KEYS_MAX,
    CredentialsBody,
    FeatureBody,
    FeedbackBody,
    SliceKeyBody,
    features,
    slice_keys,
)
from app.domain.catalog.json_pointer import MAX_LENGTH, json_pointer
from app.domain.catalog.models import (
    Bulkhead,
    Match,
    Model,
    Observation,
    Protocol,
    Timeouts,
    model_name,
    version_name,
)
from app.domain.catalog.routing import FULL_BP, Mirror, Weights, check_weights
from app.errors import InvalidInput
from app.upstream_allow import is_host
from app.web.strict_body import Body

Seconds = Annotated[float, Field(ge=0.1, le=86_400)]
UrlPath = Annotated[str, Field(min_length=1, max_length=512, pattern=r"^/[A-Za-z0-9._~/%:@-]*$")]
Pointer = Annotated[
    str,
    Field(
        max_length=MAX_LENGTH,
        description="JSON pointer (RFC 6901) into the answer; the empty one is the whole answer.",
    ),
]


class MatchBody(Body):
    """Where a model is found beside the paths recognised without configuration."""

    host: Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[a-z0-9.-]+$")] | None = None
    path_prefix: UrlPath | None = None

    def to_domain(self) -> Match:
        if self.host is None and self.path_prefix is None:
            raise InvalidInput("/match", "must name a host or a path_prefix")
        return Match(self.host, self.path_prefix)


class ObservationBody(Body):
    """What is read from a copy of a model's answers, after they were sent."""

    prediction: Pointer | None = None
    score: Pointer | None = None
    sample_bp: Annotated[int, Field(ge=1, le=FULL_BP, description="Share of the answers that are read.")] = FULL_BP

    def to_domain(self) -> Observation:
        for name, pointer in (("prediction", self.prediction), ("score", self.score)):
            if pointer is not None:
                json_pointer(pointer, f"/observation/{name}")
        return Observation(self.prediction, self.score, self.sample_bp)


class ModelBody(Body):
    """A model to register."""

    name: Name
    match: MatchBody | None = None
    sticky_header: Annotated[
        Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[a-z0-9-]+$")] | None,
        Field(description="Request header whose value keeps a caller on one version."),
    ] = None
    sticky_cookie: Annotated[
        # A cookie's name is a token (RFC 6265, section 4.1.1).
        Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9!#$%&'*+.^_`|~-]+$")] | None,
        Field(description="Cookie whose value does; not together with sticky_header."),
    ] = None
    protocol: Annotated[
        Protocol, Strict(False), Field(description="What its servers speak: how they are probed and answers read.")
    ] = Protocol.AUTO
    observation: ObservationBody | None = None
    takes_invocations: Annotated[
        bool, Field(description="Whether /invocations without a model's name is meant for it; one model at most.")
    ] = False
    feedback: FeedbackBody | None = None
    slices: Annotated[tuple[SliceKeyBody, ...], Strict(False), Field(max_length=SLICE_KEYS_MAX)] = ()
    features: Annotated[tuple[FeatureBody, ...], Strict(False), Field(max_length=FEATURES_MAX)] = ()

    def to_domain(self) -> Model:
        if self.sticky_header is not None and self.sticky_cookie is not None:
            raise InvalidInput("/sticky_cookie", "a caller's key is in a header or in a cookie, not in both")
        return Model(
            model_name(self.name),
            None if self.match is None else self.match.to_domain(),
            self.sticky_header,
            self.sticky_cookie,
            self.protocol,
            None if self.observation is None else self.observation.to_domain(),
            self.takes_invocations,
            None if self.feedback is None else self.feedback.to_domain(),
            slice_keys(self.slices),
            features(self.features),
        )


class TimeoutsBody(Body):
    """How long the gateway waits for a version; what is not given is the gateway's default."""

    connect_s: Seconds | None = None
    first_byte_s: Seconds | None = None
    idle_s: Seconds | None = None
    total_s: Seconds | None = None

    def over(self, default: Timeouts) -> Timeouts:
        """The given values, the default's elsewhere."""
        return replace(default, **self.model_dump(exclude_none=True))


class BulkheadBody(Body):
    """How much of each gateway process a version may hold."""

    concurrency: Annotated[int, Field(ge=1, le=65_536, description="Exchanges under way at once.")] = (
        Bulkhead().concurrency
    )
    queue: Annotated[int, Field(ge=0, le=65_536, description="Exchanges that may wait for one of those to end.")] = (
        Bulkhead().queue
    )

    def to_domain(self) -> Bulkhead:
        return Bulkhead(self.concurrency, self.queue)


class VersionBody(Body):
    """One immutable build behind its model servers' addresses."""

    urls: Annotated[
        tuple[Annotated[str, Field(min_length=1, max_length=512)], ...],
        Strict(False),
        Field(min_length=1, max_length=16, description="Base addresses, http[s]://host[:port][/base]; all alike."),
    ]
    health_path: Annotated[
        UrlPath | None, Field(description="Path under each url that answers 2xx; else the protocol's own.")
    ] = None
    timeouts: TimeoutsBody | None = None
    bulkhead: BulkheadBody | None = None
    path: Annotated[
        UrlPath | None,
        Field(description="Stands for the part of a request's path that named the model; else that stays."),
    ] = None
    served_model: Annotated[
        Annotated[str, Field(min_length=1, max_length=256, pattern=r"^[^\x00-\x1f\x7f]+$")] | None,
        Field(description="The `model` its servers know in an OpenAI-style body; else the body stays."),
    ] = None
    server_name: Annotated[
        Annotated[str, Field(min_length=1, max_length=253)] | None,
        Field(description="The name an https url's certificate must have; else the url's host."),
    ] = None
    credentials: CredentialsBody | None = None

    def checked_path(self) -> str | None:
        """Raises: InvalidInput."""
        if self.path is not None and {"..", "."} & set(self.path.split("/")):
            raise InvalidInput("/path", "must not contain . or .. as a segment")
        return self.path

    def checked_server_name(self) -> str | None:
        """Raises: InvalidInput."""
        if self.server_name is not None and not is_host(self.server_name):
            raise InvalidInput("/server_name", "must be a DNS name in lower case, or an IP address")
        return self.server_name


class MirrorBody(Body):
    """A version that gets copies of requests, and whose answers nobody sees."""

    version: Name
    share_bp: Annotated[int, Field(ge=1, le=FULL_BP, description="Share of the requests that are copied.")]

    def to_domain(self) -> Mirror:
        return Mirror(version_name(self.version, "/mirror/version"), self.share_bp)


class RouteBody(Body):
    """A route changed by hand; what is not named stays as it is."""

    weights_bp: Annotated[
        Annotated[dict[str, Annotated[int, Field(ge=0, le=FULL_BP)]], Field(min_length=1, max_length=8)] | None,
        Field(description="Version to weight in basis points; the sum is 10,000. Absent: the weights stay."),
    ] = None
    mirror: Annotated[
        MirrorBody | None,
        Field(
            description="Who gets copies, until it is ended or becomes stable. Absent: the mirror stays. null: it ends."
        ),
    ] = None
    reason: Reason

    def to_domain(self) -> RouteChange:
        if "weights_bp" in self.model_fields_set and self.weights_bp is None:
            raise InvalidInput("/weights_bp", "must be an object; leave it out to keep the weights")
        return RouteChange(
            None if self.weights_bp is None else _weights(self.weights_bp),
            None if self.mirror is None else self.mirror.to_domain(),
            ends_mirror="mirror" in self.model_fields_set and self.mirror is None,
        )


def _weights(weights_bp: Mapping[str, int]) -> Weights:
    named = {version_name(name, f"/weights_bp/{pointer_part(name)}"): bp for name, bp in weights_bp.items()}
    return check_weights(named)
