"""The committed OpenAPI documents are what the code says."""

import json
from pathlib import Path

import pytest

from app.main import openapi_documents

FOLDER = Path(__file__).parents[2] / "openapi"


@pytest.mark.parametrize("name", ["admin", "inference"])
def test_the_committed_document_equals_the_code(name: str) -> None:
    """If this fails: `python3 -m app openapi` writes them anew; read the difference as your callers would."""
    assert json.loads((FOLDER / f"{name}.json").read_text("utf-8")) == json.loads(json.dumps(openapi_documents()[name]))


def test_there_is_no_document_without_an_application() -> None:
    assert {path.stem for path in FOLDER.glob("*.json")} == set(openapi_documents())


def test_every_operation_has_a_summary_and_an_id_of_its_own() -> None:
    operations = [
        operation
        for document in openapi_documents().values()
        for path in document["paths"].values()
        for operation in path.values()
    ]
    assert all(operation["summary"] for operation in operations)
    assert len({operation["operationId"] for operation in operations}) == len(operations)
