"""A probe whose answers a test decides."""

from app.domain.catalog.models import Protocol, Version, VersionName


class ProbeBook:
    """Versions answer unless they are listed as dead."""

    def __init__(self) -> None:
        self.dead: set[VersionName] = set()
        self.asked: list[VersionName] = []

    async def __call__(self, _: Protocol, version: Version) -> str | None:
        self.asked.append(version.name)
        return "connection refused" if version.name in self.dead else None
