"""`openapi`: the documents of both listeners, written from the code."""

import json

from app.cli.options import Json
from app.cli.output import write, write_document
from app.cli.verbs import PROJECT
from app.main import openapi_documents


def command(*, as_json: Json = False) -> None:
    """Write the documents of both listeners to openapi/."""
    written = []
    for name, document in openapi_documents().items():
        target = PROJECT / "openapi" / f"{name}.json"
        target.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        written.append(str(target.relative_to(PROJECT)))
    if as_json:
        write_document({"written": written})
    else:
        write("\n".join(written))
