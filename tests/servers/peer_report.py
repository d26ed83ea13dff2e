"""The end of a test run says which peers really ran, and why others did not."""

import pytest

RAN = "peer that ran"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reports = [each for kind in terminalreporter.stats.values() for each in kind if isinstance(each, pytest.TestReport)]
    ours = [report for report in reports if "servers" in report.keywords]
    if not ours:
        return
    called = [report for report in ours if report.when == "call"]
    ran = {str(value) for report in called for name, value in report.user_properties if name == RAN}
    terminalreporter.write_line(f"peers that ran: {', '.join(sorted(ran)) or 'none'}")
    for reason in sorted({_reason(report) for report in ours if report.skipped}):
        terminalreporter.write_line(f"peer that did not run: {reason}")


def _reason(skipped: pytest.TestReport) -> str:
    """What a skipped test says (pytest keeps it as file, line, text)."""
    return skipped.longrepr[2].removeprefix("Skipped: ") if isinstance(skipped.longrepr, tuple) else ""
