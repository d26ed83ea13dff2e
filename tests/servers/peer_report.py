"""The end of a test run says which peers really ran, and why others did not."""

import pytest

RAN = "peer that ran"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reports = [each for kind in terminalreporter.stats.values() for each in kind if isinstance(each, pytest.TestReport)]
    ours = [report for report in reports if "servers" in report.keywords]
    if not ours:
        return
    ran = {value for report in ours if report.when == "call" for name, value in report.user_properties if name == RAN}
    terminalreporter.write_line(f"peers that ran: {', '.join(sorted(ran)) or 'none'}")
    for reason in sorted({report.longrepr[2] for report in ours if report.skipped}):
        terminalreporter.write_line(f"peer that did not: {reason.removeprefix('Skipped: ')}")
