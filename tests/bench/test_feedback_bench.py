"""The labels' benchmark: every label is joined, and the document says how many a second."""

import json

import pytest

from bench import feedback


@pytest.mark.bench
def test_the_document_says_how_many_labels_a_second_in_each_way() -> None:
    said: list[str] = []
    feedback.main(["--labels", "50"], said.append)
    cases = json.loads("\n".join(said))["cases"]
    assert [(case["by"], case["batch"]) for case in cases] == [
        *((by, batch) for batch in feedback.BATCHES for by in ("receipt", "receipt, sent again")),
        ("request id", feedback.BATCHES[-1]),
    ]
    assert all(case["labels"] == 50 and case["labels_per_s"] > 0 for case in cases)
