"""The data plane's own errors as application/problem+json: what went wrong and whose fault it is.

Rule: a problem never carries anything that a client or an upstream sent, except the model's name
and a checked request id.
"""

from dataclasses import dataclass
from enum import StrEnum
from http import HTTPStatus
from typing import Final

import orjson

from app.errors import PROBLEM_TYPE, UnknownModel


class Fault(StrEnum):
    """Who has to change something for the error to go away."""

    CLIENT = "client"
    UPSTREAM = "upstream"
    GATEWAY = "gateway"


@dataclass(frozen=True, slots=True)
class Problem:
    """One way in which the gateway itself answers; `code` is the name its type ends in."""

    code: str
    title: str
    status: int
    fault: Fault


def _client(code: str, status: int, title: str) -> Problem:
    return Problem(code, title, status, Fault.CLIENT)


def _upstream(code: str, status: int, title: str) -> Problem:
    return Problem(code, title, status, Fault.UPSTREAM)


MALFORMED_REQUEST = _client("MalformedRequest", 400, "The request is not valid HTTP/1.1")
MODEL_NOT_NAMED = _client("ModelNotNamed", 400, "The body does not plainly name a model")
UNKNOWN_PATH = _client("UnknownPath", 404, "No model is served at this path")
UNKNOWN_MODEL = _client("UnknownModel", 404, "No such model")
CROSS_ORIGIN = _client("CrossOrigin", 403, "Pages from elsewhere change nothing here")
OVERRIDE_REFUSED = _client("OverrideRefused", 403, "Only operators choose a version")
UNKNOWN_VERSION = _client("UnknownVersion", 404, "No such version")
REQUEST_TIMEOUT = _client("RequestTimeout", 408, "The request did not arrive in time")
BODY_TOO_LARGE = _client("BodyTooLarge", 413, "The request's body is too large")
URL_TOO_LONG = _client("UrlTooLong", 414, "The request's target is too long")
EXPECTATION_FAILED = _client("ExpectationFailed", 417, "Only 100-continue can be expected")
MISDIRECTED_REQUEST = _client("MisdirectedRequest", 421, "The request is for another host")
HEAD_TOO_LARGE = _client("HeadTooLarge", 431, "The request's header is too large")
METHOD_NOT_IMPLEMENTED = _client("MethodNotImplemented", 501, "The method is not carried")
UPGRADE_NOT_IMPLEMENTED = _client("UpgradeNotImplemented", 501, "Protocol upgrades are not carried")
VERSION_NOT_SUPPORTED = _client("HttpVersionNotSupported", 505, "Only HTTP/1.1 and HTTP/1.0 are spoken here")
UPSTREAM_REFUSED = _upstream("UpstreamRefused", 502, "The model server cannot be reached")
UPSTREAM_BROKE = _upstream("UpstreamBroke", 502, "The model server closed the connection before it answered")
UPSTREAM_MALFORMED = _upstream("UpstreamMalformed", 502, "The model server did not answer in valid HTTP")
UPSTREAM_TIMEOUT = _upstream("UpstreamTimeout", 504, "The model server did not answer in time")
VERSION_OVERLOADED = _upstream("VersionOverloaded", 503, "The version has all the requests it can hold")
VERSION_WITHDRAWN = _upstream("VersionWithdrawn", 503, "The version lost its traffic while it served this request")
GATEWAY_OVERLOADED = Problem("GatewayOverloaded", "The gateway has all the requests it can hold", 503, Fault.GATEWAY)
TOO_MANY_CONNECTIONS = Problem("TooManyConnections", "Too many connections are open", 503, Fault.GATEWAY)
GATEWAY_EXHAUSTED = Problem("GatewayExhausted", "The gateway has nothing left to serve with", 503, Fault.GATEWAY)
NOT_READY = Problem("NotReady", "The gateway has no routes yet", 503, Fault.GATEWAY)


def reason(status: int) -> bytes:
    """The standard reason phrase, empty for a status that has none."""
    try:
        return HTTPStatus(status).phrase.encode()
    except ValueError:
        return b""


STATUS_LINES: Final = {status: b"HTTP/1.1 %d %s" % (status, reason(status)) for status in range(200, 600)}


def unrouted(model: str | None, *, ready: bool) -> tuple[Problem, str]:
    """Why a path leads nowhere, and one sentence about it.

    Args:
        model: The name that was recognised in the path, or None.
        ready: Whether a routing table was ever taken.
    """
    if not ready:
        return NOT_READY, "no routing table has been read since the start"
    if model is None:
        return UNKNOWN_PATH, "no model is matched by this path"
    return UNKNOWN_MODEL, UnknownModel(model).detail


def response(problem: Problem, detail: str, request_id: bytes, *, close: bool, with_body: bool = True) -> bytes:
    """The whole HTTP/1.1 answer.

    Args:
        problem: What happened.
        detail: One plain sentence about this occurrence.
        request_id: Checked token characters, or empty when none is known yet.
        close: Whether the connection ends with this answer.
        with_body: False for an answer to HEAD.
    """
    members: dict[str, object] = {
        "type": PROBLEM_TYPE + problem.code,
        "title": problem.title,
        "status": problem.status,
        "detail": detail,
        "code": problem.code,
        "fault": problem.fault,
        "request_id": request_id.decode("ascii") or None,
    }
    body = orjson.dumps(members)
    lines = [
        STATUS_LINES[problem.status],
        b"content-type: application/problem+json",
        b"content-length: %d" % len(body),
    ]
    if problem.status == 503:
        lines.append(b"retry-after: 1")
    if request_id:
        lines.append(b"x-request-id: " + request_id)
    if close:
        lines.append(b"connection: close")
    lines.append(b"\r\n" + body if with_body else b"\r\n")
    return b"\r\n".join(lines)
