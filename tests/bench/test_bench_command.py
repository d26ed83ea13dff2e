"""What `bench` refuses before it measures anything."""

from pathlib import Path

import pytest

from app.cli.benching import Subject, bench
from app.cli.output import Refused
from app.cli.verbs import ExitCode


def test_only_the_proxy_s_run_has_a_report(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="only `bench proxy` writes a report") as refused:
        bench(Subject.DECIDE, quick=True, report=tmp_path)
    assert refused.value.code is ExitCode.USAGE


def test_a_report_that_has_no_place_is_refused_before_the_run(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Refused, match="no report can be written there") as refused:
        bench(Subject.PROXY, report=tmp_path / "file" / "folder")
    assert refused.value.code is ExitCode.USAGE


def test_a_seed_cannot_repeat_a_measurement_of_a_machine() -> None:
    with pytest.raises(Refused, match="seed"):
        bench(Subject.PROXY, seed=1)
