"""JSON pointers as RFC 6901 has them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.catalog.json_pointer import MAX_LENGTH, MISSING, json_pointer
from app.errors import InvalidInput

# RFC 6901 §5.
DOCUMENT = {
    "foo": ["bar", "baz"],
    "": 0,
    "a/b": 1,
    "c%d": 2,
    "e^f": 3,
    "g|h": 4,
    "i\\j": 5,
    'k"l': 6,
    " ": 7,
    "m~n": 8,
}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", DOCUMENT),
        ("/foo", ["bar", "baz"]),
        ("/foo/0", "bar"),
        ("/", 0),
        ("/a~1b", 1),
        ("/c%d", 2),
        ("/e^f", 3),
        ("/g|h", 4),
        ("/i\\j", 5),
        ('/k"l', 6),
        ("/ ", 7),
        ("/m~0n", 8),
    ],
)
def test_the_examples_of_the_rfc_hold(text: str, value: object) -> None:
    assert json_pointer(text).value_in(DOCUMENT) == value


@pytest.mark.parametrize(
    "text", ["/foo/2", "/foo/-", "/foo/00", "/foo/-1", "/foo/bar", "/foo/٠", "/x", "/a", "//0", "/foo/0/0"]
)
def test_what_is_not_there_is_missing_and_not_null(text: str) -> None:
    assert json_pointer(text).value_in(DOCUMENT) is MISSING


def test_null_is_a_value() -> None:
    assert json_pointer("/x").value_in({"x": None}) is None


def test_an_escaped_tilde_before_a_one_is_no_slash() -> None:
    assert json_pointer("/~01").value_in({"~1": "tilde", "/": "slash"}) == "tilde"


@pytest.mark.parametrize("text", ["foo", "#/foo", "/~", "/~2", "/a~", "$.foo", "/" + "a" * MAX_LENGTH])
def test_what_is_no_pointer_is_refused_at_its_field(text: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        json_pointer(text, "/observation/score")
    assert refused.value.field == "/observation/score"


@given(keys=st.lists(st.text(max_size=5), max_size=5), leaf=st.integers())
def test_every_key_can_be_pointed_at(keys: list[str], leaf: int) -> None:
    document: object = leaf
    for key in reversed(keys):
        document = {key: document}
    text = "".join("/" + key.replace("~", "~0").replace("/", "~1") for key in keys)
    assert json_pointer(text).value_in(document) == leaf
