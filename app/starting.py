"""What a process refuses to start with, each in one sentence with the remedy."""

import ipaddress
import os

from app import private
from app.errors import CannotServe
from app.proxy.downstream.addressed import Addressees
from app.settings import Settings
from app.store.pg.database import Database
from app.store.pg.embedded import make_state_folder


def refuse(settings: Settings, role: str, *, decides: bool) -> None:
    """Raises: CannotServe: what was asked for is not safe or makes no sense."""
    if settings.embedded and role != "all":
        raise CannotServe(
            f"Role {role} needs TURNBACK_DATABASE_URL: processes share nothing but Postgres,"
            " and the embedded server is for one process."
        )
    if decides and not settings.embedded and settings.upstream_allow is None:
        raise CannotServe(
            "TURNBACK_UPSTREAM_ALLOW is required with TURNBACK_DATABASE_URL: list the hosts or networks"
            " model servers may have."
        )
    try:
        Addressees(settings.admin_hosts)
    except ValueError as refused:
        raise CannotServe(f"TURNBACK_ADMIN_HOSTS is not acceptable: {refused}.") from None
    if decides and not settings.insecure_admin and not _is_loopback(settings.admin_host):
        raise CannotServe(
            f"The admin listener asks for no key, so it does not bind to {settings.admin_host};"
            " use a loopback address, or set TURNBACK_INSECURE_ADMIN=true if everybody there may roll back."
        )


def keep_state_private(settings: Settings, *, serves: bool) -> None:
    """From here on what this process writes is for its user alone. Raises: CannotServe: its state folder is not."""
    os.umask(0o077)
    try:
        if settings.embedded:
            make_state_folder(settings.state_dir)
        elif serves:
            private.make_folder(settings.state_dir)
    except OSError as failed:
        # A disk that cannot be written is no reason not to serve from Postgres; the journal says that it is down.
        if settings.embedded or isinstance(failed, private.NotPrivate):
            raise CannotServe(f"TURNBACK_STATE_DIR is not acceptable: {failed}.") from None


def opened(url: str) -> Database:
    """The database at this address. Raises: CannotServe."""
    try:
        return Database(url)
    except ValueError:
        raise CannotServe(
            "TURNBACK_DATABASE_URL is not acceptable: it must be postgresql://user:password@host:port/database."
        ) from None


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
