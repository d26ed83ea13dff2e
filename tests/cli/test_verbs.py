"""People and pipelines see this of the verbs that read and act."""

import json
import threading
import time
from pathlib import Path

import pytest
from cli.command import Command

from app.cli.gateway import Gateway
from app.cli.verbs import ExitCode
from app.terminal.rollouts import model_lines

WHY = ("-m", "a test")


def start(command: Command) -> str:
    started = command("start", "fraud", "--canary", "v2", *WHY, "--json")
    assert started.code == 0, started.err
    return str(started.document["id"])


def test_register_adds_a_version_and_a_new_model_with_it(command: Command) -> None:
    added = command("register", "churn", "a", "--url", "http://127.0.0.1:9003", "--path-prefix", "/churn")
    assert (added.code, added.err) == (0, "")
    assert "churn a is registered at http://127.0.0.1:9003" in added.out
    listed = command("get", "models", "churn", "--json").document["items"]
    assert [(model["name"], model["stable"], model["match"]["path_prefix"]) for model in listed] == [
        ("churn", "a", "/churn")
    ]


def test_register_says_all_there_is_to_say_of_a_version_and_its_new_model(command: Command) -> None:
    of_version = ("--path", "/v2/models/churn/versions/7", "--served-model", "org/Churn", "--server-name", "churn.test")
    of_model = ("--protocol", "oip_v2", "--sticky-cookie", "sid", "--prediction", "/outputs/0/data/0", "--invocations")
    urls = ("--url", "https://127.0.0.1:9003", "--url", "http://127.0.0.1:9004")
    bulkhead = ("--concurrency", "8", "--queue", "0", "--health-path", "/ready")
    added = command("register", "churn", "a", *urls, *of_version, *bulkhead, *of_model, "--json")
    assert added.code == 0, added.err
    assert added.document["urls"] == ["https://127.0.0.1:9003", "http://127.0.0.1:9004"]
    assert added.document["bulkhead"] == {"concurrency": 8, "queue": 0}
    assert [added.document[name] for name in ("path", "served_model", "server_name", "health_path")] == [
        "/v2/models/churn/versions/7",
        "org/Churn",
        "churn.test",
        "/ready",
    ]
    model = command("get", "models", "churn", "--json").document["items"][0]
    assert (model["protocol"], model["sticky_cookie"], model["takes_invocations"]) == ("oip_v2", "sid", True)
    assert model["observation"] == {"prediction": "/outputs/0/data/0", "score": None, "sample_bp": 10_000}
    listed = command("get", "versions", "churn").out.splitlines()[1]
    assert listed.split()[2:5] == ["2", "https://127.0.0.1:9003,", "http://127.0.0.1:9004"]


def test_register_does_not_pass_over_what_a_known_model_is_not(command: Command) -> None:
    words = ("register", "fraud", "v3", "--url", "http://127.0.0.1:9003")
    differs = command(*words, "--protocol", "openai")
    assert (differs.code, "protocol" in differs.err) == (ExitCode.CONFLICT, True)
    assert [version["version"] for version in command("get", "versions", "fraud", "--json").document["items"]] == [
        "v1",
        "v2",
    ]
    assert command(*words, "--protocol", "auto").code == 0


def test_a_mirror_is_set_shown_and_ended(command: Command) -> None:
    command("register", "fraud", "v3", "--url", "http://127.0.0.1:9003")
    made = command("mirror", "fraud", "v3", "--share", "2.5%", *WHY, "--json")
    assert (made.code, made.document["action"]) == (0, "set_mirror")
    explained = command("explain", "fraud")
    assert "v3 gets copies of 2.5 % of the requests" in explained.out
    assert "0 pairs: 0 agreed, 0 differed; slower in 0" in explained.out
    assert command("explain", "fraud", "--json").document["mirror"]["mirror"] == {"version": "v3", "share_bp": 250}
    with Gateway(command.url) as gateway:
        live_view = model_lines(gateway.get("models", "fraud"), gateway.get("models", "fraud", "route"), None)
    assert "v3 gets copies of 2.5 %" in "\n".join(live_view)
    assert command("mirror", "fraud", "--off", *WHY).code == 0
    assert command("explain", "fraud", "--json").document["mirror"] is None


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("v2",),
        ("--share", "10%"),
        ("v2", "--share", "10%", "--off"),
        ("v2", "--off"),
        ("v2", "--share", "ten"),
        ("v2", "--share", "0.001%"),
        ("v2", "--share", "101%"),
        ("v2", "--share", "0"),
    ],
)
def test_a_mirror_without_a_version_and_a_share_is_a_usage_error(command: Command, words: tuple[str, ...]) -> None:
    assert command("mirror", "fraud", *words, *WHY).code == ExitCode.USAGE
    assert command("get", "models", "fraud", "--json").document["items"][0]["route"]["mirror"] is None


def test_get_models_is_a_table_with_one_line_for_each(command: Command) -> None:
    head, fraud = command("get", "models").out.splitlines()
    assert head.split() == ["MODEL", "STATE", "STABLE", "CANARY", "WEIGHT", "SINCE"]
    assert fraud.split() == ["fraud", "✔", "stable", "v1", "–", "–", "–"]


@pytest.mark.parametrize("noun", ["models", "versions", "rollouts", "decisions"])
def test_every_list_is_one_document_and_a_table(command: Command, noun: str) -> None:
    start(command)
    listed = command("get", noun, "--json")
    assert listed.document["items"]
    assert listed.err == ""
    assert len(command("get", noun).out.splitlines()) == len(listed.document["items"]) + 1
    assert command("get", noun, "fraud", "--json").document["items"]


def test_a_rollout_goes_through_every_action_and_each_keeps_its_reason(command: Command) -> None:
    start(command)
    for verb in ("pause", "resume", "rollback"):
        acted = command(verb, "fraud", "-m", f"because {verb}", "--json")
        assert (acted.code, acted.document["reason"]) == (0, f"because {verb}")
    start(command)
    assert command("abort", "fraud", *WHY).code == 0
    start(command)
    promoted = command("promote", "fraud", *WHY)
    assert promoted.code == 0
    assert "v2" in promoted.out
    assert command("get", "models", "fraud", "--json").document["items"][0]["stable"] == "v2"


def test_the_person_who_acts_is_named_in_the_decision(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGNAME", "mary")
    start(command)
    assert command("abort", "fraud", *WHY, "--json").document["actor"] == "mary"


def test_an_action_without_a_reason_is_a_usage_error(command: Command) -> None:
    for verb in ("promote", "rollback", "pause", "resume", "abort"):
        assert command(verb, "fraud").code == ExitCode.USAGE
    assert command("start", "fraud", "--canary", "v2").code == ExitCode.USAGE


def test_fields_of_the_policy_are_set_one_by_one(command: Command) -> None:
    words = ("start", "fraud", "--canary", "v2", *WHY, "--json")
    started = command(*words, "--set", "warmup_s=1.5", "--set", "on_deadline=rollback")
    policy = started.document["policy"]
    assert (policy["warmup_s"], policy["on_deadline"]) == (1.5, "rollback")
    command("abort", "fraud", *WHY)
    assert command(*words, "--set", "warmup_s").code == ExitCode.USAGE
    assert command(*words, "--set", "no_such_field=1").code == ExitCode.USAGE


def test_explain_says_why_in_words_and_figures(command: Command) -> None:
    start(command)
    rolled_back = command("rollback", "fraud", "-m", "nonsense", "--json").document
    by_model = command("explain", "fraud")
    assert "ROLLED BACK" in by_model.out
    assert rolled_back["sentence"] in by_model.out
    assert "nonsense" in by_model.out
    by_id = command("explain", rolled_back["id"], "--json").document
    nothing = dict.fromkeys(("model", "rollout", "explanation", "mirror"))
    assert by_id == nothing | {"decision": rolled_back}
    assert command("explain", "nobody").code == ExitCode.USAGE


def test_explain_of_a_model_without_a_rollout_says_so(command: Command) -> None:
    assert command("explain", "fraud").code == 0


def test_watch_ends_with_the_rollout_and_its_outcome_is_the_exit_code(command: Command) -> None:
    start(command)
    command("rollback", "fraud", *WHY)
    ended = command("watch", "fraud", "--json")
    assert ended.code == ExitCode.ROLLED_BACK
    assert ended.document["rollout"]["phase"] == "rolled_back"
    start(command)
    command("promote", "fraud", *WHY)
    assert command("watch", "fraud").code == ExitCode.DONE


def test_watch_gives_up_at_its_timeout_and_says_whether_a_person_holds_the_rollout(command: Command) -> None:
    start(command)
    assert command("watch", "fraud", "--timeout", "0").code == ExitCode.UNDECIDED
    command("pause", "fraud", *WHY)
    held = command("watch", "fraud", "--timeout", "0", "--json")
    assert (held.code, held.document["rollout"]["phase"]) == (ExitCode.HELD, "paused")


def test_watch_without_a_terminal_prints_a_line_for_each_change(command: Command) -> None:
    rollout = start(command)

    def operator() -> None:
        import httpx  # noqa: PLC0415 -- a thread of its own

        time.sleep(1)
        httpx.post(f"{command.url}/v1/rollouts/{rollout}:rollback", json={"reason": "now"}).raise_for_status()

    thread = threading.Thread(target=operator)
    thread.start()
    watched = command("watch", "fraud", "--timeout", "30")
    thread.join()
    first, last = watched.out.splitlines()
    assert "WARMING" in first
    assert "ROLLED BACK" in last
    assert watched.code == ExitCode.ROLLED_BACK


def test_watch_w_json_prints_json_lines(command: Command) -> None:
    start(command)
    lines = command("watch", "fraud", "-w", "--json", "--timeout", "0").out.splitlines()
    assert [json.loads(line)["model"]["name"] for line in lines] == ["fraud"]


def test_watch_of_a_model_without_a_rollout_ends_at_once(command: Command) -> None:
    assert command("watch", "fraud").code == ExitCode.DONE


def test_standby_shows_both_versions_and_how_the_watch_ended(command: Command) -> None:
    assert command("standby", "fraud").code == ExitCode.USAGE
    start(command)
    command("promote", "fraud", *WHY)
    shown = command("standby", "fraud")
    assert shown.code == 0, shown.err
    assert shown.out.startswith("v1 stands by with 1 % of the traffic until ")
    assert "evidence that v2 has become the worse one: none yet" in shown.out
    with Gateway(command.url) as gateway:
        lines = model_lines(gateway.get("models", "fraud"), gateway.get("models", "fraud", "route"), None)
    assert "v1 stands by with 1 %" in "\n".join(lines)
    command("rollback", "fraud", *WHY)
    assert "v1 stands by no more: ended by rollback" in command("standby", "fraud").out
    assert command("standby", "fraud", "--json").document["ended_by"] == "rollback"


def test_recall_calls_back_lists_and_fetches(command: Command, tmp_path: Path) -> None:
    assert command("recall", "fraud", "v1").code == ExitCode.USAGE
    called = command("recall", "fraud", "v1", "-m", "a wrong feature", "--json")
    assert (called.code, called.document["listed"]) == (0, 0)
    recall_id = called.document["recall"]["id"]
    table = command("recall", "fraud").out.splitlines()
    assert table[0].split() == ["AT", "VERSION", "SINCE", "UNTIL", "ID", "WHY"]
    assert table[1].split()[4:] == [recall_id, "a", "wrong", "feature"]
    file = tmp_path / "answers.csv"
    fetched = command("recall", recall_id, "--format", "csv", "--output", str(file))
    assert (fetched.code, fetched.out) == (0, "")
    assert "fraud v1: 0 answers listed of 0 given, 0 failed" in fetched.err
    assert file.read_text().startswith("exchange,request_id,client_key,at,")
    assert [each.name for each in tmp_path.iterdir()] == ["answers.csv"]
    assert command("recall", recall_id, "--format", "csv").out == file.read_bytes().decode()
    assert command("recall", "0198c0de-0000-7000-8000-000000000000").code == ExitCode.USAGE
    assert command("recall", recall_id, "--output", str(tmp_path / "no" / "file")).code == ExitCode.FAILED


def test_slices_are_listed_of_each_models_last_rollout(command: Command) -> None:
    started = command("start", "fraud", "--canary", "v2", "-m", "try it")
    assert started.code == 0, started.err
    shown = command("get", "slices", "fraud")
    assert (shown.code, shown.out.split()[:3]) == (0, ["MODEL", "SLICE", "METRIC"])
    assert command("get", "slices", "fraud", "--json").document["items"] == []
