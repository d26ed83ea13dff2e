"""Judging in a transaction that may need to know whether a version answers.

Rule: nothing waits for a model server while a transaction is open. When the save needs a probe that was not
made yet, what was judged is thrown away, the probe made, and it is judged once more.
"""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from app.actions.context import Probe
from app.domain.catalog.models import Protocol, Version, VersionName

PROBES_MAX = 2

Answers = dict[VersionName, str | None]
_Judged = TypeVar("_Judged")


class ProbeWanted(Exception):  # ADR 0032
    """The save needs to know whether this version answers."""

    def __init__(self, protocol: Protocol, version: Version) -> None:
        super().__init__(version.name)
        self.protocol = protocol
        self.version = version


async def judged_with_probes(probe: Probe, judge: Callable[[Probe], Awaitable[_Judged]], answers: Answers) -> _Judged:
    """What `judge` returns once it has the answers it asks for.

    Args:
        probe: Asks a version's servers.
        judge: Judges in one transaction; asks what it is given, which raises through it where an answer is missing.
        answers: Of probes made already; those made here are added.
    """

    async def answered(protocol: Protocol, version: Version) -> str | None:
        if version.name not in answers:
            raise ProbeWanted(protocol, version)
        return answers[version.name]

    for _ in range(PROBES_MAX):
        try:
            return await judge(answered)
        except ProbeWanted as wanted:
            answers[wanted.version.name] = await probe(wanted.protocol, wanted.version)
    return await judge(answered)
