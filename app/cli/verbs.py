"""The table of verbs and the overview that `--help` prints.

Rule: standard library only; `python3 -m app --help` and a mistyped verb must be answered before
anything is installed.
"""

from dataclasses import dataclass
from difflib import get_close_matches
from enum import Enum, IntEnum
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]


class ExitCode(IntEnum):
    """The status by which a finished command tells a script how it ended."""

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


class Group(Enum):
    """Verbs that belong together: their heading in the overview, and the package under `app.cli` that holds them."""

    RUN = ("Run", "commands.run")
    READ = ("Read", "commands.read")
    ACT = ("Act", "commands.act")
    KEEP = ("Keep", "commands.keep")
    DEVELOP = ("Develop (in a checkout)", "dev")

    def __init__(self, heading: str, package: str) -> None:
        self.heading = heading
        self.package = package


@dataclass(frozen=True, slots=True)
class Verb:
    """One word after `turnback`; the module of that name in its group's package has its `command`.

    Attributes:
        passes_on: Whether words it does not know go on to another program.
    """

    name: str
    group: Group
    summary: str
    passes_on: bool = False

    @property
    def needs_checkout(self) -> bool:
        """Whether it needs the sources, and so the development packages."""
        return self.group is Group.DEVELOP


VERBS = {
    verb.name: verb
    for verb in (
        Verb("serve", Group.RUN, "Run the gateway: inference, admin and ops listeners."),
        Verb("demo", Group.RUN, "Play a story on real flights: good and bad versions, rolled back live."),
        Verb("get", Group.READ, "List models, versions, rollouts, decisions or slices."),
        Verb("explain", Group.READ, "Say why a model's last decision, or a given one, was taken."),
        Verb("replay", Group.READ, "Make a decision again from what it was made from, and compare."),
        Verb("simulate", Group.READ, "Try another policy on a model's past rollouts."),
        Verb("power", Group.READ, "Say how many answers, labels and minutes an effect takes."),
        Verb("watch", Group.READ, "Follow a model's rollout until it ends."),
        Verb("drift", Group.READ, "Compare what a version is asked and predicts with what it was."),
        Verb("standby", Group.READ, "Show a promoted version beside the one it took the place of."),
        Verb("quality", Group.READ, "Show how good each version's answers were, by the labels that came."),
        Verb("cost", Group.READ, "Show what each version's answers cost, and what a rollback would."),
        Verb("compare", Group.READ, "Put two versions side by side: quality, latency, errors, cost."),
        Verb("register", Group.ACT, "Add a version of a model; the first one becomes stable."),
        Verb("start", Group.ACT, "Start the rollout of a canary."),
        Verb("promote", Group.ACT, "Make the canary stable without waiting for proof."),
        Verb("rollback", Group.ACT, "Roll the canary back: all traffic to stable, now."),
        Verb("pause", Group.ACT, "Hold the canary's weight; guardrails go on."),
        Verb("resume", Group.ACT, "Let a held rollout go on."),
        Verb("abort", Group.ACT, "End the rollout without a verdict on the canary."),
        Verb("mirror", Group.ACT, "Send copies of requests to a version, whose answers nobody sees."),
        Verb("recall", Group.ACT, "List what rolled-back versions answered, or call a version's answers back."),
        Verb("feedback", Group.KEEP, "Send a file of labels, or count a model's labels."),
        Verb("test", Group.DEVELOP, "Run the whole test suite; more words go to pytest.", passes_on=True),
        Verb("bench", Group.DEVELOP, "Measure: `bench proxy` or `bench decide`."),
        Verb("check", Group.DEVELOP, "Lint, types, layers, Dockerfile and compose file."),
        Verb("compile", Group.DEVELOP, "Compile the hot modules; needs a C compiler."),
        Verb("openapi", Group.DEVELOP, "Write openapi/*.json from the code."),
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
    return (PROJECT / "requirements.lock").is_file()


def overview() -> str:
    """The text of `--help`."""
    lines = ["Turnback: a rollback gateway for machine-learning models.", ""]
    lines += ["Usage: turnback VERB …   (in a checkout: python3 -m app VERB …)", ""]
    for group in Group:
        lines.append(group.heading)
        lines += [f"  {verb.name:<10} {verb.summary}" for verb in VERBS.values() if verb.group is group]
        lines.append("")
    return "\n".join(lines) + "\n" + _FOOT


def unknown(word: str) -> str:
    """A sentence about an unknown verb."""
    near = get_close_matches(word, VERBS, n=1)
    hint = f"did you mean `{near[0]}`?" if near else "`--help` lists them."
    return f"turnback: the verb `{word}` is unknown; {hint}"
