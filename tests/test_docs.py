"""What the documents say must be so: commands exist, links lead somewhere, forms are kept."""

import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest

from app.admin.rollouts.bodies import PolicyBody
from app.cli.policy_file import read_policy
from app.cli.verbs import VERBS, overview
from app.domain.catalog.policy import Guardrail, Policy
from app.domain.guardrails.policy import DEFAULT_POLICY, guardrail

PROJECT = Path(__file__).resolve().parents[1]
README = (PROJECT / "README.md").read_text(encoding="utf-8")
CLI_PAGE = PROJECT / "docs" / "cli.md"
POLICY_PAGE = (PROJECT / "docs" / "policy.md").read_text(encoding="utf-8")
RECORD_INDEX = PROJECT / "docs" / "adr" / "README.md"
RECORDS = sorted(path for path in RECORD_INDEX.parent.iterdir() if path != RECORD_INDEX)
RECORD_HEADINGS = ["Context", "Decision", "Consequences", "Alternatives", "References"]
# Where a record may be cited: beside what it explains.
CITING = ("Dockerfile", "docker-compose.yml", "pyproject.toml", ".ci/run", "app", "bench", "migrations", "sdk")
CHANGES = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def commands(text: str) -> list[list[str]]:
    """The words after `$` in the console blocks."""
    blocks = re.findall(r"```console\n(.*?)```", text, re.DOTALL)
    lines = [line[2:] for block in blocks for line in block.splitlines() if line.startswith("$ ")]
    return [shlex.split(line, comments=True) for line in lines]


def pages() -> list[Path]:
    return [PROJECT / "README.md", PROJECT / "CHANGELOG.md", *sorted((PROJECT / "docs").rglob("*.md"))]


def test_the_quickstart_is_exactly_two_commands() -> None:
    first_block = re.search(r"```console\n.*?```", README, re.DOTALL)
    assert first_block is not None
    assert commands(first_block.group()) == [
        ["python3", "-m", "app", "demo"],
        ["python3", "-m", "app", "test"],
    ]


@pytest.mark.parametrize("page", [README, CLI_PAGE.read_text(encoding="utf-8")], ids=["README.md", "cli.md"])
def test_every_command_in_a_page_is_a_verb(page: str) -> None:
    ours = [words for words in commands(page) if words[:3] == ["python3", "-m", "app"]]
    assert ours
    assert [words for words in ours if words[3] not in VERBS and not words[3].startswith("--")] == []


def test_every_verb_has_its_heading_and_stands_in_the_overview() -> None:
    headings = set(re.findall(r"^### `turnback ([a-z]+)", CLI_PAGE.read_text(encoding="utf-8"), re.MULTILINE))
    assert headings == set(VERBS)
    assert [verb for verb in VERBS.values() if f"  {verb.name:<10} {verb.summary}" not in overview()] == []


@pytest.mark.parametrize(
    ("heading", "defaults"), [("# The policy", DEFAULT_POLICY), ("## Guardrails", guardrail("timeouts"))]
)
def test_the_policys_page_names_every_field_and_its_default(heading: str, defaults: Policy | Guardrail) -> None:
    section = POLICY_PAGE.partition(heading)[2].split("\n## ")[0]
    rows = re.findall(r"^\| `([a-z_]+)` \| (.*?) \|", section, re.MULTILINE)
    assert [name for name, _ in rows] == [field.name for field in fields(defaults)]
    # What differs by metric is said in words.
    said = {name: json.loads(text.strip("`")) for name, text in rows if re.fullmatch(r"`\S+`|[\d.]+", text)}
    assert len(said) >= 3
    assert said == {name: getattr(defaults, name) for name in said}


def test_the_example_of_a_policy_is_accepted(tmp_path: Path) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text(POLICY_PAGE.partition("```yaml\n")[2].partition("```")[0])
    assert PolicyBody.model_validate(read_policy(file)).to_domain().max_extra_bad == 2


def test_links_between_pages_lead_to_files() -> None:
    links = [
        (page, target.split("#")[0])
        for page in pages()
        for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8"))
        if not target.startswith(("http://", "https://", "#"))
    ]
    assert [(page.name, target) for page, target in links if not (page.parent / target).exists()] == []


@pytest.mark.parametrize("record", RECORDS, ids=lambda path: str(path.stem))
def test_a_decision_record_has_its_form(record: Path) -> None:
    text = record.read_text(encoding="utf-8")
    number = record.name.split("-", 1)[0]
    assert re.match(rf"# {number}: \S.*\n\nStatus: (accepted|superseded by \d{{4}}) · \d{{4}}-\d\d-\d\d\n", text)
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == RECORD_HEADINGS


def test_no_two_decision_records_have_the_same_number() -> None:
    numbers = [record.name.split("-", 1)[0] for record in RECORDS]
    assert sorted(set(numbers)) == numbers


def test_the_index_has_each_decision_record_once_under_its_title_and_nothing_else() -> None:
    entries = re.findall(r"^[-*] .*$", RECORD_INDEX.read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(entries) == [_index_entry(record) for record in RECORDS]


def _index_entry(record: Path) -> str:
    text = record.read_text(encoding="utf-8")
    number, title = text.splitlines()[0].removeprefix("# ").split(": ", 1)
    successor = _successor(text)
    after = "" if successor is None else f" (superseded by [{successor.name[:4]}]({successor.name}))"
    return f"- [{number}]({record.name}) {title}{after}"


def _successor(text: str) -> Path | None:
    superseded = re.search(r"^Status: superseded by (\d{4})", text, re.MULTILINE)
    if superseded is None:
        return None
    return next(record for record in RECORDS if record.name.startswith(superseded.group(1)))


def test_each_accepted_decision_is_cited_where_it_is_carried_out_and_no_other_is() -> None:
    accepted = {record.name[:4] for record in RECORDS if _successor(record.read_text(encoding="utf-8")) is None}
    cited: dict[str, set[str]] = {}
    for path in _citing():
        for number in re.findall(r"\bADRs? (\d+)", path.read_text(encoding="utf-8")):
            cited.setdefault(number, set()).add(str(path.relative_to(PROJECT)))
    assert {number: places for number, places in cited.items() if number not in accepted} == {}
    assert accepted - cited.keys() == set()


def _citing() -> Iterator[Path]:
    for name in CITING:
        path = PROJECT / name
        yield from [path] if path.is_file() else path.rglob("*.py")


def test_the_changelog_keeps_its_form() -> None:
    text = (PROJECT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(r"^## \[Unreleased\]$", text, re.MULTILINE)
    assert set(re.findall(r"^### (.+)$", text, re.MULTILINE)) <= CHANGES
    entries = re.findall(r"^- (.+)$", text, re.MULTILINE)
    assert entries
    assert [entry for entry in entries if not entry.endswith(".")] == []
