"""What a test run as a whole does for the servers' tests: one worker per server, a word at the end on who ran."""

import pytest
from xdist.remote import Producer  # type: ignore[import-untyped]
from xdist.scheduler import LoadScopeScheduling, Scheduling  # type: ignore[import-untyped]

RAN = "peer that ran"
_TOGETHER = "tests/servers/"


class ServersOnOneWorker(LoadScopeScheduling):  # type: ignore[misc]
    """Like `--dist load`, but the tests of one server's file stay together, so that it is started once.

    xdist's own groups (`--dist loadgroup`, 3.8.0) do nothing under pytest 9.2.
    """

    def _split_scope(self, nodeid: str) -> str:
        return nodeid.partition("::")[0] if nodeid.startswith(_TOGETHER) else nodeid


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Scheduling | None:
    return ServersOnOneWorker(config, log) if config.getvalue("dist") == "load" else None


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reports = [each for kind in terminalreporter.stats.values() for each in kind if isinstance(each, pytest.TestReport)]
    called = [report for report in reports if report.when == "call"]
    ran = {str(value) for report in called for name, value in report.user_properties if name == RAN}
    if ran:
        terminalreporter.write_line(f"peers that ran: {', '.join(sorted(ran))}")
    missing = {_reason(report) for report in reports if report.skipped and "servers" in report.keywords}
    for reason in sorted(missing):
        terminalreporter.write_line(f"peer that did not run: {reason}")


def _reason(skipped: pytest.TestReport) -> str:
    """What a skipped test says (pytest keeps it as file, line, text)."""
    return skipped.longrepr[2].removeprefix("Skipped: ") if isinstance(skipped.longrepr, tuple) else ""
