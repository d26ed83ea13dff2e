"""How the gateway speaks TLS to model servers: one context per process, for exchanges and probes alike."""

import ssl
from pathlib import Path

from app.errors import CannotServe


def upstream_context(ca: Path | None, certificate: Path | None, key: Path | None) -> ssl.SSLContext:
    """A client's context that checks certificate and name and speaks HTTP/1.1 over TLS 1.2 or newer.

    Args:
        ca: PEM file of the authorities that may sign an upstream's certificate; None takes the system's.
        certificate: PEM file with the gateway's own certificate and its chain, None to show none.
        key: PEM file of its private key, not encrypted; None if `certificate` holds that too.

    Raises: CannotServe, with one sentence that names the setting: a file cannot be read or used.
    """
    try:
        context = ssl.create_default_context(cafile=ca)
    except OSError as refused:
        raise CannotServe(f"TURNBACK_UPSTREAM_CA_FILE is not acceptable: {ca} {_why(refused)}.") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    if certificate is not None:
        _show_own(context, certificate, key)
    elif key is not None:
        raise CannotServe("TURNBACK_UPSTREAM_KEY_FILE is set without TURNBACK_UPSTREAM_CERT_FILE: set both or neither.")
    return context


def _show_own(context: ssl.SSLContext, certificate: Path, key: Path | None) -> None:
    try:
        # An encrypted key would ask a terminal for its password, and there is none.
        context.load_cert_chain(certificate, key, password=_no_password)
    except OSError as refused:
        files = certificate if key is None else f"{certificate} with {key}"
        raise CannotServe(
            f"TURNBACK_UPSTREAM_CERT_FILE or TURNBACK_UPSTREAM_KEY_FILE is not acceptable: {files} {_why(refused)}."
        ) from None


def _no_password() -> str:
    return ""


def _why(refused: OSError) -> str:
    if isinstance(refused, ssl.SSLError):
        return "does not hold what it should in PEM"
    return f"cannot be read ({refused.strerror or type(refused).__name__})"
