"""What `bench` refuses before it measures anything."""

from pathlib import Path

import pytest

from app.cli.dev.bench import Subject, command
from app.cli.output import Refused
from app.cli.verbs import ExitCode


@pytest.mark.parametrize("subject", Subject)
def test_a_report_that_has_no_place_is_refused_before_the_run(subject: Subject, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Refused, match="no report can be written there") as refused:
        command(subject, report=tmp_path / "file" / "folder")
    assert refused.value.code is ExitCode.USAGE


def test_a_seed_cannot_repeat_a_measurement_of_a_machine() -> None:
    with pytest.raises(Refused, match="seed"):
        command(Subject.PROXY, seed=1)
