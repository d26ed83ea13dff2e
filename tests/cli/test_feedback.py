"""`feedback send`: every record of a file once, whatever happens on the way."""

import asyncio
import json
import random
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cli.command import Command, Ran
from fakes.feedback_port import FeedbackPort, Heard, Said, taken

from app.cli.labels import upload
from app.cli.verbs import ExitCode
from app.domain.catalog.models import ModelName, VersionName
from app.domain.evidence.labels import Attributed, Exchange, Label
from app.domain.evidence.tally import Tally, TallyKey, TallyRow
from app.store.evidence import tallies
from app.store.labels import labels
from app.store.pg.database import Database

Send = Callable[..., Ran]


@pytest.fixture
def port() -> Iterator[FeedbackPort]:
    with FeedbackPort() as listening:
        yield listening


@pytest.fixture
def send(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Send:
    """Runs `feedback send` on a file, against a port."""
    monkeypatch.setattr(upload, "PAUSES_S", (0.001, 0.001))
    monkeypatch.delenv("TURNBACK_FEEDBACK_KEY", raising=False)
    run = Command(capsys, "")

    def send(port: FeedbackPort, path: Path, *words: str) -> Ran:
        return run("feedback", "send", *words, "--file", str(path), "--inference-url", port.url)

    return send


def written(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def sent(port: FeedbackPort) -> list[Any]:
    return [item for heard in port.heard for item in heard.document]


def test_a_csv_file_is_sent_with_numbers_as_numbers_and_text_as_text(
    send: Send, port: FeedbackPort, tmp_path: Path
) -> None:
    labels = written(
        tmp_path,
        "labels.csv",
        "\ufeffreceipt,label,metric,observed_at,supersedes\n"
        "1:a,1,late,2026-11-25T12:00:00Z,\n"
        '1:b,"late, very",,,2\n'
        "\n"
        "1:c,true,,,\n"
        "1:d,007,,,\n"
        "1:e,1_000,,,\n",
    )
    ran = send(port, labels)
    assert (ran.code, ran.err) == (0, "")
    assert ran.out == f"{labels}: 5 records, 5 joined.\n"
    assert sent(port) == [
        {"receipt": "1:a", "label": 1, "metric": "late", "observed_at": "2026-11-25T12:00:00Z"},
        {"receipt": "1:b", "label": "late, very", "supersedes": 2},
        {"receipt": "1:c", "label": True},
        {"receipt": "1:d", "label": "007"},
        {"receipt": "1:e", "label": "1_000"},
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["labels.csv"]


def test_lines_of_json_are_sent_as_they_are_and_get_the_model_where_they_need_it(
    send: Send, port: FeedbackPort, tmp_path: Path
) -> None:
    lines: list[dict[str, object]] = [
        {"receipt": "1:a", "value": 0.5},
        {"request_id": "r", "label": [1, 0]},
        {"client_key": "k", "model": "m"},
    ]
    labels = written(tmp_path, "labels.ndjson", "\n\n".join(map(json.dumps, lines)))
    ran = send(port, labels, "fraud", "--json")
    assert ran.code == 0
    assert ran.document == {
        "file": str(labels),
        "records": 3,
        "joined": 3,
        "pending": 0,
        "duplicate": 0,
        "orphan": 0,
        "unknown": 0,
        "invalid": 0,
        "problems": [],
    }
    assert sent(port) == [lines[0], {**lines[1], "model": "fraud"}, lines[2]]


def test_records_go_in_batches_and_with_the_key_of_the_environment(
    send: Send, port: FeedbackPort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TURNBACK_FEEDBACK_KEY", "secret")
    labels = written(tmp_path, "labels.csv", "receipt,label\n" + "a,1\n" * 5)
    assert send(port, labels, "--batch", "2").code == 0
    assert [len(heard.document) for heard in port.heard] == [2, 2, 1]
    assert {heard.headers["authorization"] for heard in port.heard} == {"Bearer secret"}


def test_records_that_are_no_labels_are_told_by_line_and_the_others_are_sent(
    send: Send, port: FeedbackPort, tmp_path: Path
) -> None:
    labels = written(tmp_path, "labels.csv", "receipt,value,supersedes\na,1\nb,high,\nc,1,-1\nd,1,1\n")
    ran = send(port, labels)
    assert ran.code == ExitCode.FAILED
    assert ran.out == f"{labels}: 4 records, 1 joined, 3 invalid.\n"
    assert ran.err.splitlines() == [
        "  line 2: invalid: 2 cells, and the head has 3",
        "  line 3: invalid: the value is not a number",
        "  line 4: invalid: supersedes is not a whole number",
    ]
    assert [item["receipt"] for item in sent(port)] == ["d"]


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("[]", "not a JSON object"),
        ("3", "not a JSON object"),
        ("{", "the line is not strict JSON at column 2"),
        ('{"receipt": "a", "value": NaN}', "the line is not strict JSON at column 27"),
        ('{"receipt": "a", "value": 1e999}', "the line is not strict JSON at column 27"),
        ('{"receipt": "a", "label": "\\ud800"}', "the line is not strict JSON at column 28"),
        ('{"receipt": "a", "label": 1, "label": 0}', "the line has a member twice"),
        ("[" * 100_000, "the line is not strict JSON at column 1026"),
        ('{"label": "' + "x" * 3_000_000 + '"}', "it is too large for a label"),
    ],
)
def test_a_line_that_is_no_json_object_is_invalid_and_the_next_one_is_sent(
    send: Send, port: FeedbackPort, tmp_path: Path, line: str, why: str
) -> None:
    labels = written(tmp_path, "labels.jsonl", f'{line}\n{{"receipt": "a", "value": 1}}\n')
    ran = send(port, labels, "--json")
    assert ran.code == ExitCode.FAILED
    assert ran.document["problems"] == [{"line": 1, "result": "invalid", "reason": why}]
    assert ran.document["joined"] == 1
    assert sent(port) == [{"receipt": "a", "value": 1}]


@pytest.mark.parametrize("cell", ["NaN", "nan", "inf", "-Infinity", "1e999", "1" * 400, "1" * 5_000])
def test_a_cell_that_is_no_finite_number_is_never_taken_for_a_class(
    send: Send, port: FeedbackPort, tmp_path: Path, cell: str
) -> None:
    ran = send(port, written(tmp_path, "labels.csv", f"receipt,label\na,{cell}\nb,on time\n"), "--json")
    assert ran.document["problems"] == [
        {"line": 2, "result": "invalid", "reason": "the cell is a number that is not finite"}
    ]
    assert sent(port) == [{"receipt": "b", "label": "on time"}]


def test_records_that_together_are_too_large_for_one_request_go_in_several(
    send: Send, port: FeedbackPort, tmp_path: Path
) -> None:
    line = json.dumps({"receipt": "r" * 900_000, "label": 1})
    assert send(port, written(tmp_path, "labels.ndjson", f"{line}\n" * 7)).code == 0
    assert [len(heard.document) for heard in port.heard] == [3, 3, 1]


def test_what_the_gateway_cannot_use_is_told_by_line(send: Send, tmp_path: Path) -> None:
    def first_is_orphan(heard: Heard) -> Said:
        problem = {"index": 0, "result": "orphan", "reason": "nobody can have served it"}
        return Said(202, {"joined": len(heard.document) - 1, "orphan": 1, "items": [problem]})

    labels = written(tmp_path, "labels.csv", "receipt,label\na,1\nb\nc,1\nd,1\n")
    with FeedbackPort(first_is_orphan) as port:
        ran = send(port, labels, "--json", "--batch", "2")
    assert ran.code == ExitCode.FAILED
    assert [(each["line"], each["result"]) for each in ran.document["problems"]] == [
        (3, "invalid"),
        (2, "orphan"),
        (4, "orphan"),
    ]


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("labels.txt", "", "is neither .csv nor .ndjson"),
        ("labels.csv", "", "needs a column label or value"),
        ("labels.csv", "receipt,label,weight\n", "the column weight is unknown"),
        ("labels.csv", "receipt,label,label\n", "a column stands there twice"),
        ("labels.csv", "receipt,metric\n", "needs a column label or value"),
        ("labels.csv", "label\n", "one of receipt, request_id and client_key"),
        ("labels.csv", b"receipt,label\na,1\n\xff,1\n", "is not UTF-8 in line 3"),
        ("labels.ndjson", b"\xff\n", "is not UTF-8 in line 1"),
        ("labels.csv", 'receipt,label\n"a"b,1\n', "is invalid CSV at line 2"),
    ],
)
def test_a_file_that_holds_no_labels_is_refused(
    send: Send, port: FeedbackPort, tmp_path: Path, name: str, content: str | bytes, why: str
) -> None:
    ran = send(port, written(tmp_path, name, content))
    assert ran.code == ExitCode.USAGE
    assert why in ran.err
    assert port.heard == []


def test_a_file_that_is_not_there_is_refused(send: Send, port: FeedbackPort, tmp_path: Path) -> None:
    ran = send(port, tmp_path / "labels.csv")
    assert (ran.code, "No such file" in ran.err) == (ExitCode.USAGE, True)


def after(batches: int, then: Callable[[Heard], Said]) -> tuple[Callable[[Heard], Said], ...]:
    return (*[taken] * batches, then)


def test_an_interrupted_file_goes_on_where_it_was_taken(send: Send, port: FeedbackPort, tmp_path: Path) -> None:
    labels = written(tmp_path, "labels.csv", "receipt,label\n" + "".join(f"r{at},1\n" for at in range(10)))
    with FeedbackPort(*after(2, lambda _heard: Said(0))) as broken:
        ran = send(broken, labels, "--batch", "3")
    assert ran.code == ExitCode.UNREACHABLE
    assert "Everything up to line 7 was taken" in ran.err
    # The bookmark names the gateway; this one goes on for it.
    bookmark = tmp_path / "labels.csv.sent"
    bookmark.write_text(bookmark.read_text().replace(broken.url, port.url))
    ran = send(port, labels, "--json")
    assert ran.code == 0
    assert "going on after line 7" in ran.err
    assert [item["receipt"] for item in sent(port)] == ["r6", "r7", "r8", "r9"]
    assert (ran.document["records"], ran.document["joined"]) == (10, 10)
    assert not bookmark.exists()


@pytest.mark.parametrize("seed", range(5))
def test_however_often_it_is_interrupted_every_record_is_taken_and_none_twice_but_the_last_batch(
    send: Send, tmp_path: Path, seed: int
) -> None:
    dice = random.Random(seed)
    records = [f'r{at},"one\n""{at}"""' if dice.random() < 0.3 else f"r{at},{at}" for at in range(60)]
    labels = written(tmp_path, "labels.csv", "receipt,label\n" + "\n".join(records) + dice.choice(["", "\n"]))

    def whatever(heard: Heard) -> Said:
        return taken(heard) if dice.random() < 0.6 else Said(dice.choice([0, 503, 500]))

    with FeedbackPort(whatever) as port:
        for _ in range(200):
            ran = send(port, labels, "--batch", str(dice.randint(1, 7)), "--json")
            if ran.code == 0:
                break
        assert ran.document["joined"] == 60
        assert {item["receipt"] for item in sent(port)} == {f"r{at}" for at in range(60)}


def test_a_file_that_was_changed_behind_the_bookmark_goes_on_and_one_before_it_does_not(
    send: Send, port: FeedbackPort, tmp_path: Path
) -> None:
    labels = written(tmp_path, "labels.csv", "receipt,label\na,1\nb,1\n")
    with FeedbackPort(*after(1, lambda _heard: Said(500, {"detail": "a bug"}))) as broken:
        ran = send(broken, labels, "--batch", "1")
    assert (ran.code, "a bug." in ran.err) == (ExitCode.FAILED, True)
    bookmark = tmp_path / "labels.csv.sent"
    bookmark.write_text(bookmark.read_text().replace(broken.url, port.url))
    for content in ("receipt,label\na,0\nb,1\n", "receipt,label\n"):
        labels.write_text(content)
        ran = send(port, labels)
        assert ran.code == ExitCode.CONFLICT
        assert "labels.csv.sent" in ran.err
    labels.write_text("receipt,label\na,1\nb,0\nc,1\n")
    assert send(port, labels).code == 0
    assert [(item["receipt"], item["label"]) for item in sent(port)] == [("b", 0), ("c", 1)]


def test_a_bookmark_of_another_gateway_or_one_that_cannot_be_read_is_none(
    send: Send, port: FeedbackPort, tmp_path: Path
) -> None:
    labels = written(tmp_path, "labels.csv", "receipt,label\na,1\n")
    for content in ("{", "[]", '{"url": "http://elsewhere"}', f'{{"url": "{port.url}", "place": {{}}}}'):
        (tmp_path / "labels.csv.sent").write_text(content)
        assert send(port, labels).code == 0
    assert len(port.heard) == 4


@pytest.mark.parametrize(("status", "code"), [(401, 7), (413, 2), (422, 2), (503, 6), (500, 1)])
def test_a_gateway_that_takes_no_labels_ends_the_command_with_its_code(
    send: Send, tmp_path: Path, status: int, code: int
) -> None:
    labels = written(tmp_path, "labels.csv", "receipt,label\na,1\n")
    with FeedbackPort(lambda _heard: Said(status, {"title": "No"})) as port:
        assert send(port, labels).code == code
    assert len(port.heard) == (3 if status == 503 else 1)


def test_what_is_no_inference_listener_is_told_so(send: Send, tmp_path: Path) -> None:
    labels = written(tmp_path, "labels.csv", "receipt,label\na,1\n")
    with FeedbackPort(lambda _heard: Said(200, [])) as port:
        ran = send(port, labels)
    assert (ran.code, "not a Turnback inference listener" in ran.err) == (ExitCode.UNREACHABLE, True)
    assert send(port, labels).code == ExitCode.UNREACHABLE


def test_each_word_wants_what_it_is_about(capsys: pytest.CaptureFixture[str]) -> None:
    run = Command(capsys, "")
    assert (run("feedback", "send").code, run("feedback", "stats").code) == (ExitCode.USAGE, ExitCode.USAGE)


def test_stats_of_a_model_without_labels_are_none_and_of_an_unknown_model_a_refusal(command: Command) -> None:
    ran = command("feedback", "stats", "fraud", "--hours", "2")
    assert (ran.code, ran.out) == (0, "fraud: labels of the last 2 h; 0 wait for their exchange.\n")
    assert command("feedback", "stats", "fraud", "--json").document["counted"] == []
    assert command("feedback", "stats", "nobody").code == ExitCode.USAGE


def test_stats_say_who_labelled_what_and_how_much_of_each_version(command: Command, database_url: str) -> None:
    asyncio.run(labelled(database_url))
    ran = command("feedback", "stats", "fraud")
    assert [line.split() for line in ran.out.splitlines()[1:]] == [
        ["METRIC", "VERSION", "SOURCE", "LABELS", "CORRECTIONS"],
        ["right", "v1", "clerk", "2", "1"],
        ["METRIC", "VERSION", "DRAWN", "LABELLED", "COVERAGE", "LAG", "P50", "LAG", "P95"],
        ["right", "v1", "4", "2", "50.0%", "30", "s", "30", "s"],
    ]


async def labelled(database_url: str) -> None:
    """Two of four exchanges, half a minute after their draw, and one of them once more."""
    now = datetime.now(UTC)
    second = int(now.timestamp()) - 60
    key = TallyKey(second, ModelName("fraud"), 1, VersionName("v1"))
    received = datetime.fromtimestamp(second + 30, UTC)
    first = [
        Attributed(
            Exchange(f"{at:032x}", second, key.model, key.version, 1), Label("right", "clerk", 1, None, received), {}
        )
        for at in range(2)
    ]
    corrected = Attributed(first[0].exchange, Label("right", "clerk", 0, None, received, supersedes=1), {})
    database = Database(database_url)
    async with database.transaction() as tx:
        await tallies.upsert(tx, str(uuid.uuid4()), [TallyRow(key, Tally(exchanges=4), 1)])
        await labels.add(tx, first)
        await labels.add(tx, [corrected])
    await database.close()
