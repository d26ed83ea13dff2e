"""The synchronous client is the asynchronous one without its waiting."""

from generate_client import TARGET, synchronous


def test_the_committed_client_is_what_poe_sdk_writes() -> None:
    assert TARGET.read_text(encoding="utf-8") == synchronous(), "`poe sdk` writes it"
