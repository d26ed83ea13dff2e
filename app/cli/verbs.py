"""The table of verbs and the overview that `--help` prints.

Rule: standard library only; `python3 -m app --help` and a mistyped verb must be answered before
anything is installed.
"""

from dataclasses import dataclass
from difflib import get_close_matches
from enum import IntEnum
from pathlib import Path


class ExitCode(IntEnum):
    """What a finished command says to a script."""

    DONE = 0  # also: the rollout was promoted
    FAILED = 1  # anything without a number of its own
    USAGE = 2
    ROLLED_BACK = 3
    UNDECIDED = 4
    HELD = 5
    UNREACHABLE = 6
    FORBIDDEN = 7
    CONFLICT = 8
    DIFFERENCES = 10


@dataclass(frozen=True, slots=True)
class Verb:
    """One word after `turnback`.

    Attributes:
        module: Where its command is, under `app.cli`; only this module is imported for it.
        checkout: Whether it needs the sources, and so the development packages.
        passes_on: Whether words it does not know go on to another program.
    """

    name: str
    group: str
    module: str
    summary: str
    checkout: bool = False
    passes_on: bool = False


_RUN, _READ, _ACT, _DEVELOP = "Run", "Read", "Act", "Develop (in a checkout)"

VERBS = {
    verb.name: verb
    for verb in (
        Verb("serve", _RUN, "commands.run.serve", "Run the gateway: inference, admin and ops listeners."),
        Verb(
            "demo", _RUN, "commands.run.serve", "Play a story on real flights: good and bad versions, turned back live."
        ),
        Verb("get", _READ, "commands.read.get", "List models, versions, rollouts, decisions or slices."),
        Verb("explain", _READ, "commands.read.explain", "Say why a model's last decision, or a given one, was taken."),
        Verb("replay", _READ, "commands.read.replay", "Make a decision again from what it was made from, and compare."),
        Verb("simulate", _READ, "commands.read.simulate", "Try another policy on a model's past rollouts."),
        Verb("power", _READ, "commands.read.power", "Say how many answers, labels and minutes an effect takes."),
        Verb("watch", _READ, "commands.read.watch", "Follow a model's rollout until it ends."),
        Verb("drift", _READ, "commands.read.drift", "Compare what a version is asked and predicts with what it was."),
        Verb("standby", _READ, "commands.read.standby", "Show a promoted version beside the one it took the place of."),
        Verb(
            "quality",
            _READ,
            "commands.read.quality",
            "Show how good each version's answers were, by the labels that came.",
        ),
        Verb(
            "cost", _READ, "commands.read.quality", "Show what each version's answers cost, and what a rollback would."
        ),
        Verb(
            "compare", _READ, "commands.read.compare", "Put two versions side by side: quality, latency, errors, cost."
        ),
        Verb("register", _ACT, "commands.act.register", "Add a version of a model; the first one becomes stable."),
        Verb("start", _ACT, "commands.act.order", "Start the rollout of a canary."),
        Verb("promote", _ACT, "commands.act.order", "Make the canary stable without waiting for proof."),
        Verb("rollback", _ACT, "commands.act.order", "Turn the canary back: all traffic to stable, now."),
        Verb("pause", _ACT, "commands.act.order", "Hold the canary's weight; guardrails go on."),
        Verb("resume", _ACT, "commands.act.order", "Let a held rollout go on."),
        Verb("abort", _ACT, "commands.act.order", "End the rollout without a verdict on the canary."),
        Verb("feedback", _ACT, "commands.keep.feedback", "Send a file of labels, or count a model's labels."),
        Verb("mirror", _ACT, "commands.act.order", "Send copies of requests to a version, whose answers nobody sees."),
        Verb(
            "recall",
            _ACT,
            "commands.act.recall",
            "List what turned-back versions answered, or call a version's answers back.",
        ),
        Verb(
            "test",
            _DEVELOP,
            "dev.checkout",
            "Run the whole test suite; more words go to pytest.",
            checkout=True,
            passes_on=True,
        ),
        Verb("bench", _DEVELOP, "dev.bench", "Measure: `bench proxy` or `bench decide`.", checkout=True),
        Verb("check", _DEVELOP, "dev.checkout", "Lint, types, layers, Dockerfile and compose file.", checkout=True),
        Verb("compile", _DEVELOP, "dev.compile", "Compile the hot modules; needs a C compiler.", checkout=True),
        Verb("openapi", _DEVELOP, "dev.checkout", "Write openapi/*.json from the code.", checkout=True),
    )
}

_FOOT = """\
Options of a verb: turnback VERB --help. Every verb takes --json: one document on stdout,
everything else on stderr. An action takes -m REASON, which is kept in the audit.

Environment
  TURNBACK_ADMIN_URL   the gateway's admin address (default http://127.0.0.1:8321; option --url)
  TURNBACK_…           settings of `serve`: docs/settings.md

Exit codes
  0 done or promoted    1 failed       2 usage        3 rolled back or aborted    4 undecided
  5 held for a human    6 gateway unreachable         7 forbidden    8 conflict    10 differences
"""


def is_checkout() -> bool:
    """Whether this is the sources, with their lock files, and not an installation of them."""
    return (Path(__file__).resolve().parents[2] / "requirements.lock").is_file()


def overview() -> str:
    """What everything does, for `--help`."""
    lines = ["Turnback: a rollback gateway for machine-learning models.", ""]
    lines += ["Usage: turnback VERB …   (in a checkout: python3 -m app VERB …)", ""]
    for group in dict.fromkeys(verb.group for verb in VERBS.values()):
        lines.append(group)
        lines += [f"  {verb.name:<10} {verb.summary}" for verb in VERBS.values() if verb.group == group]
        lines.append("")
    return "\n".join(lines) + "\n" + _FOOT


def unknown(word: str) -> str:
    """One sentence about a word that is no verb."""
    near = get_close_matches(word, VERBS, n=1)
    hint = f"did you mean `{near[0]}`?" if near else "`--help` lists them."
    return f"turnback: there is no verb `{word}`; {hint}"
