"""Names that were let in, and where they may lead on the day they are connected to."""

import pytest

from app.upstream_allow import LOOPBACK, AllowList

METADATA = "169.254.169.254"


@pytest.mark.parametrize(
    ("entries", "host", "address", "allowed"),
    [
        (("models.test",), "models.test", "10.1.2.3", True),
        (("models.test",), "models.test", "93.184.215.14", True),
        (("models.test:8000",), "models.test", "10.1.2.3", True),
        (("models.test",), "models.test", METADATA, False),
        (("models.test",), "models.test", "127.0.0.1", False),
        (("models.test",), "models.test", "::1", False),
        (("models.test",), "models.test", "::ffff:127.0.0.1", False),
        (("models.test",), "models.test", "fe80::1", False),
        (("models.test",), "models.test", "0.0.0.0", False),  # noqa: S104 -- refused, not bound
        (("models.test",), "models.test", "not an address", False),
        (("models.test", "127.0.0.0/8"), "models.test", "127.0.0.1", True),
        (("10.0.0.0/8",), "models.test", "10.1.2.3", True),
        (("10.0.0.0/8",), "models.test", "10.1.2.3%eth0", False),
        (("10.0.0.0/8",), "models.test", "11.1.2.3", False),
        (("10.0.0.0/8",), "models.test", METADATA, False),
        (LOOPBACK, "localhost", "127.0.0.1", True),
        (LOOPBACK, "localhost", "::1", True),
        (LOOPBACK, "localhost", METADATA, False),
        (("localhost",), "localhost", "127.0.0.1", True),
        (("10.0.0.0/8",), "other.test", "127.0.0.1", False),
    ],
)
def test_a_name_may_lead_where_the_list_says(entries: tuple[str, ...], host: str, address: str, allowed: bool) -> None:
    assert AllowList(entries).may_connect(host, address) is allowed
