"""What the tests of real servers share: the event loop of the data plane, and a note of who ran."""

import pytest
from servers.peers import Running
from servers.pytest_hooks import RAN


@pytest.fixture(scope="session")
def anyio_backend() -> tuple[str, dict[str, bool]]:
    return ("asyncio", {"use_uvloop": True})


@pytest.fixture(autouse=True)
def _noted(request: pytest.FixtureRequest) -> None:
    """A test's real server goes into the report at the end of the run."""
    if "server" in request.fixturenames:
        server: Running = request.getfixturevalue("server")
        request.node.user_properties.append((RAN, server.peer.label))
