"""The metrics that a guardrail can have, as the API names them."""

from typing import Annotated

from pydantic import AfterValidator, WithJsonSchema

from app.domain.guardrails.registry import KINDS


def _known(metric: str) -> str:
    if metric not in KINDS:
        raise ValueError(f"must be one of {', '.join(KINDS)}")
    return metric


MetricName = Annotated[str, AfterValidator(_known), WithJsonSchema({"type": "string", "enum": list(KINDS)})]
