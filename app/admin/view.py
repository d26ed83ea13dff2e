"""What every answer of the admin API has in common."""

from typing import Self

from pydantic import BaseModel, ConfigDict


class View(BaseModel):
    """An answer, or a part of one; all its members are always there."""

    model_config = ConfigDict(from_attributes=True, json_schema_serialization_defaults_required=True)

    @classmethod
    def of(cls, value: object) -> Self:
        """The attributes of a value that have the names of these fields."""
        return cls.model_validate(value)
