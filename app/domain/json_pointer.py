"""JSON pointers: where in a document a value stands (RFC 6901)."""

import re
from dataclasses import dataclass
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

    def value_in(self, document: object) -> object:
        """The value, MISSING where there is none."""
        value = document
        for token in self.tokens:
            if isinstance(value, dict):
                value = value.get(token, MISSING)
            elif isinstance(value, list) and _INDEX.fullmatch(token) and int(token) < len(value):
                value = value[int(token)]
            else:
                return MISSING
        return value


def json_pointer(text: str, field: str = "/pointer") -> JsonPointer:
    """Read a pointer in its string form, such as `/predictions/0/label`. Raises: InvalidInput."""
    if len(text) > MAX_LENGTH or _POINTER.fullmatch(text) is None:
        raise InvalidInput(field, f"a JSON pointer (RFC 6901) of at most {MAX_LENGTH} characters")
    # "~1" first: "~01" means "~1", not "/" (RFC 6901 §4).
    return JsonPointer(tuple(token.replace("~1", "/").replace("~0", "~") for token in text.split("/")[1:]))
