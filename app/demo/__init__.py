"""Real flights, real model servers and the story of four rollouts, played through the gateway."""


def run(*, headless: bool, fault: str | None = None) -> int:
    """Play the story; 0 only if it ended as expected. See `app.demo.play.run`."""
    # A model server is in this package too and must not load what only the story needs.
    from app.demo import play  # noqa: PLC0415 -- see above

    return play.run(headless=headless, fault=fault)
