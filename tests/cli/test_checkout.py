"""The verbs of a checkout: pytest's counts as a document, figures as tables."""

import json
import subprocess
import sys
from pathlib import Path

from bench.__main__ import figure_tables

PROJECT = Path(__file__).resolve().parents[2]
RUN = "from app.cli import main; main()"


def test_test_passes_words_on_and_counts_in_one_document() -> None:
    words = ["test", "tests/test_docs.py", "-k", "changelog", "-n", "0", "--json"]
    ran = subprocess.run([sys.executable, "-c", RUN, *words], cwd=PROJECT, capture_output=True, text=True, check=False)  # noqa: S603 -- the program under test
    assert ran.returncode == 0, ran.stderr
    document = json.loads(ran.stdout)
    assert (document["exit_code"], document["tests"], document["failures"]) == (0, 1, 0)
    assert "1 passed" in ran.stderr


def test_the_exit_code_of_test_is_that_of_pytest() -> None:
    words = ["test", "tests/test_docs.py", "-k", "nothing_called_so", "-n", "0"]
    ran = subprocess.run([sys.executable, "-c", RUN, *words], cwd=PROJECT, capture_output=True, text=True, check=False)  # noqa: S603 -- the program under test
    assert ran.returncode == 5
    assert "deselected" in ran.stdout.splitlines()[-1]


def test_figures_that_belong_together_stand_beside_each_other() -> None:
    figures = {"seconds": 3, "cost": {"ours": {"low": 1, "high": 2}, "theirs": {"low": 3, "high": 4}}, "not_run": {}}
    single, beside = figure_tables(figures)
    assert single.splitlines() == ["FIGURE   VALUE", "seconds  3"]
    assert [line.split() for line in beside.splitlines()] == [
        ["COST", "low", "high"],
        ["ours", "1", "2"],
        ["theirs", "3", "4"],
    ]
