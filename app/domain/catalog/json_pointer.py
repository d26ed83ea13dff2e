"""JSON pointers: where in a document a value stands (RFC 6901)."""

import re
from dataclasses import dataclass, field
from typing import Final

from app.errors import InvalidInput

MAX_LENGTH: Final = 512
_POINTER: Final = re.compile(r"(?:/(?:[^/~]|~[01])*)*")
_INDEX: Final = re.compile(r"0|[1-9][0-9]{0,8}")
# What a pointer finds where its document has nothing; null is a value.
MISSING: Final = object()


@dataclass(frozen=True, slots=True)
class JsonPointer:
    """The keys and indices that lead from a document to one value; none lead to the document itself."""

    tokens: tuple[str, ...]
    # Each token with the place in a list that it names, -1 where it names none.
    _steps: tuple[tuple[str, int], ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        steps = tuple((token, int(token) if _INDEX.fullmatch(token) else -1) for token in self.tokens)
        object.__setattr__(self, "_steps", steps)

    def value_in(self, document: object) -> object:
        """The value, MISSING where there is none."""
        value = document
        for token, place in self._steps:
            # JSON makes nothing that is derived from these, and this is asked for every feature of every request.
            if type(value) is dict:
                value = value.get(token, MISSING)
            elif type(value) is list and 0 <= place < len(value):
                value = value[place]
            else:
                return MISSING
        return value


def json_pointer(text: str, field: str = "/pointer") -> JsonPointer:
    """Read a pointer in its string form, such as `/predictions/0/label`. Raises: InvalidInput."""
    if len(text) > MAX_LENGTH or _POINTER.fullmatch(text) is None:
        raise InvalidInput(field, f"a JSON pointer (RFC 6901) of at most {MAX_LENGTH} characters")
    # "~1" first: "~01" means "~1", not "/" (RFC 6901 §4).
    return JsonPointer(tuple(token.replace("~1", "/").replace("~0", "~") for token in text.split("/")[1:]))
