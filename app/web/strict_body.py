"""What every request body of the admin API has in common."""

from pydantic import BaseModel, ConfigDict


class Body(BaseModel):
    """Nothing unknown, nothing coerced, no NaN."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)
