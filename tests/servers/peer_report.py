"""The end of a test run says which peers really ran, and why others did not."""

import pytest

RAN = "peer that ran"


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
