"""The model in a body: found where every reader finds it, or refused."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.proxy.http1.body_model import MAX_CONTAINERS, MAX_DEPTH, MAX_MODEL_NAME, find_model
from app.proxy.http1.request_head import Refused


@pytest.mark.parametrize(
    ("body", "name"),
    [
        (b'{"model":"m"}', b"m"),
        (b' \r\n\t{ "model" \t:\n "meta-llama/Llama-3" } \n', b"meta-llama/Llama-3"),
        (b'{"messages":[{"role":"user","content":"a\\"},{\\"model\\":\\"x"}],"model":"m","n":1}', b"m"),
        (b'{"a":{"model":"x"},"b":[["model"],{"model":"y"}],"model":"m","c":[]}', b"m"),
        (b'{"a":[{},[],{"b":[1,{"c":null}],"d":-0.5e+10}],"model":"m"}', b"m"),
        (b'{"model":"m","temperature":NaN,"x":-Infinity,"y":[Infinity]}', b"m"),
        (b'{"mo\\u0064el":"m"}', b"m"),
        (b'{"model":"\\u006d\\/\\u00e9"}', "m/é".encode()),
        ('{"model":"é","модель":"x"}'.encode(), "é".encode()),
        (b'{"models":"x","model":"m","modelmodelmodelmodelmodelmodelmodel":1}', b"m"),
        (b'{"model":"%b"}' % (b"m" * MAX_MODEL_NAME), b"m" * MAX_MODEL_NAME),
        (b'{"x":%b1%b,"model":"m"}' % (b"[" * MAX_DEPTH, b"]" * MAX_DEPTH), b"m"),
    ],
)
def test_the_top_level_model_is_found_with_its_place(body: bytes, name: bytes) -> None:
    field = find_model(body)
    assert field.name == name
    assert json.loads(b'"%b"' % body[field.start : field.end]) == name.decode()
    assert body[field.start - 1] == body[field.end] == ord('"')


@pytest.mark.parametrize(
    "body",
    [
        b"", b" ", b"{}", b"[]", b'"model"', b"null", b'["model","m"]', b'[{"model":"m"}]',
        b'{"x":{"model":"m"}}', b'{"model":1}', b'{"model":null}', b'{"model":["m"]}', b'{"model":{"m":1}}',
        b'{"model":""}', b'{"model":"%b"}' % (b"m" * (MAX_MODEL_NAME + 1)),
        b'{"model":"a","model":"b"}', b'{"model":"a","model":"a"}', b'{"model":"a","mode\\u006c":"b"}',
        b'{"model":"a","Model":"b"}', b'{"MODEL":"a"}', b'{"model":"a","m\\u004fdel":"b"}',
        b'\xef\xbb\xbf{"model":"m"}', b'{"model":"m"}{}', b'{"model":"m"} x', b'{"model":"m"},', b'{"model":"m"',
        b'{"model":"m",}', b'{,"model":"m"}', b'{"model" "m"}', b'{model:"m"}', b"{'model':'m'}",
        b'{"model":"m" "x":1}', b'{"model":"m","x":1 2}', b'{"model":"m","x":01}', b'{"model":"m","x":+1}',
        b'{"model":"m","x":.5}', b'{"model":"m","x":1.}', b'{"model":"m","x":1e}', b'{"model":"m","x":0x1}',
        b'{"model":"m","x":nul}', b'{"model":"m","x":True}', b'{"model":"m","x":nan}', b'{"model":"m","x":}',
        b'{"model":"m","x":[1,]}', b'{"model":"m","x":[,1]}', b'{"model":"m","x":[1 2]}', b'{"model":"m","x":[1}',
        b'{"model":"m","x":[[1]}', b'{"model":"m","x":{"a":1]}', b'{"model":"m","x":{"a"}}', b'{"model":"m","x":{1:2}}',
        b'{"model":"m","x":{"a":1,}}', b'{"model":"m","x":{"a":{}"b":1}}', b'{"model":"m","x":[[]1]}',
        b'{"model":"m","x":"\x00"}', b'{"model":"m","x":"\n"}', b'{"model":"m","x":"\\q"}',
        b'{"model":"m","x":"\\u12g4"}', b'{"model":"m","x":"\xff"}', b'{"x":"a\xc0\xa2,\xc0\xa2","model":"m"}',
        b'{"model":"m","x":"', b'{"model":"m","x":"\\"}', b'{"model":"m"/**/}', b'{"model":"m"//\n}',
        b'{"model":"\\ud800"}', b'{"model":"\xff"}', b'{"m\\ud800":1,"model":"m"}',
        b'{\x0c"model":"m"}', b'{\xc2\xa0"model":"m"}',
        b'{"x":%b1%b,"model":"m"}' % (b"[" * (MAX_DEPTH + 1), b"]" * (MAX_DEPTH + 1)),
        b'{"x":[%b1],"model":"m"}' % (b"[]," * MAX_CONTAINERS),
        b'{%b"model":"m"}' % (b'"a":1,' * MAX_CONTAINERS),
        '{"model":"m"}'.encode("utf-16"),
    ],
)  # fmt: skip
def test_a_body_that_does_not_plainly_name_one_model_is_refused(body: bytes) -> None:
    with pytest.raises(Refused) as refused:
        find_model(body)
    assert refused.value.problem.code == "ModelNotNamed"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
MEMBERS = st.dictionaries(st.text(max_size=8), JSON, max_size=3)
NAMES = st.text(min_size=1, max_size=60)


@given(before=MEMBERS, after=MEMBERS, name=NAMES, ascii_only=st.booleans())
def test_what_a_json_encoder_writes_is_read_as_it_was_meant(
    before: dict[str, object], after: dict[str, object], name: str, *, ascii_only: bool
) -> None:
    others = {key: value for key, value in {**before, **after}.items() if key.lower() != "model"}
    members = [(key, value) for key, value in others.items() if key in before]
    members += [("model", name), *((key, value) for key, value in others.items() if key not in before)]
    body = json.dumps(dict(members), ensure_ascii=ascii_only, indent=1 if len(name) % 2 else None).encode()
    field = find_model(body)
    assert field.name == name.encode()
    renamed = body[: field.start] + b"other" + body[field.end :]
    assert json.loads(renamed) == {**others, "model": "other"}


TOKENS = st.sampled_from(
    [b'"model"', b'"m"', b'"x"', b":", b",", b"{", b"}", b"[", b"]", b"1", b"-", b"0", b".5", b"e1", b"null", b"tru",
     b" ", b"\n", b'"', b"\\", b"\\u00", b"\x00", b"\xff"]
)  # fmt: skip


@given(middle=st.lists(TOKENS, max_size=12))
def test_nothing_is_found_in_what_a_json_decoder_refuses(middle: list[bytes]) -> None:
    body = b'{"model":"m","y":' + b"".join(middle) + b"}"
    try:
        find_model(body)
    except Refused:
        return
    pairs = json.loads(body, object_pairs_hook=list)
    assert [value for key, value in pairs if key == "model"] == ["m"]


@given(body=st.binary(max_size=64))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    try:
        field = find_model(body)
    except Refused:
        return
    assert field.name
