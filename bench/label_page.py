"""A run of `bench.labels` for people: Markdown, and the document it was made from."""

from pathlib import Path

from bench import written
from bench.judging.intervals import Document
from bench.report import table

NAME = "labels"


def write(document: Document, folder: Path) -> Path:
    """Write the page and its document into a folder that exists; the page's path."""
    return written.write(NAME, folder, document, None, markdown)


_SETTING = (
    "Stable is wrong in 10 % of its answers. **Late**: wrong answers are told after an hour on average, right ones "
    "after a day. **Events**: nine in ten answers come to nothing; what happens is told after an hour on average and "
    "counts within two, and what does not is bad. **Poisoned**: one of three sources gives nine labels in ten and "
    "lies; *one loud, honest* is the same without the lie. Of the late ones an hour is compressed to ten seconds."
)
_WHOLE = (
    "The default policy with labels in place of latency. A rollout that is *held* has the lowest weight and waits for "
    "a person; what is in none of the columns was undecided when time was over."
)
_TEST = "12,000 exchanges at an even split and a look at every 500, whatever was found."


def markdown(document: Document) -> str:
    """The whole page."""
    again = f"python3 -m bench.labels --seed {document['seed']} --report docs/bench"
    figures = f"all figures: [{NAME}.json]({NAME}.json); in brackets exact intervals at 95 %"
    blocks = [
        "# Labels that come late, and labels that lie",
        f"- the same figures again: `{again}` (Python {document['python']})\n- {figures}",
        _SETTING,
        "## The mean of what has arrived",
        _naive(document["naive"]),
        "## Whole rollouts",
        _WHOLE,
        _rollouts(document["plans"]),
        "## A test that nobody stops",
        _TEST,
        _unstopped(document["plans"]),
    ]
    return "\n\n".join(blocks) + "\n"


def _naive(means: Document) -> str:
    return (
        f"The same version twice, three days as stable and six hours as canary: of the labels that have arrived "
        f"{_percent(means['stable'])} say that stable was wrong, and {_percent(means['canary'])} that the canary was. "
        f"On matured cohorts, below, the two are told apart in none but the share of runs that is said."
    )


def _rollouts(plans: Document) -> str:
    rows = []
    for name, plan in plans.items():
        whole = plan["rollouts"]
        shares = [_share(whole[end]) for end in ("rolled_back", "promoted", "frozen")]
        answers = f"{whole['median_canary_answers']['value']:,.0f}"
        rows.append((name, f"{whole['promoted']['runs']:,}", *shares, answers))
    return table(("canary", "runs", "turned back", "promoted", "held", "canary answers, median"), rows)


def _unstopped(plans: Document) -> str:
    rows = []
    for name, plan in plans.items():
        test = plan["unstopped"]
        said = [_share(test[what]) for what in ("worse", "held", "not_worse")]
        rows.append((name, f"{test['worse']['runs']:,}", *said, _exchanges(test["median_exchanges_to_worse"])))
    head = ("canary", "runs", "proven worse", "by one source alone", "proven not worse", "exchanges to worse, median")
    return table(head, rows)


def _share(figure: Document) -> str:
    low, high = figure["ci95"]
    return f"{_percent(figure['share'])} ({_percent(low)}–{_percent(high)})"


def _percent(share: float) -> str:
    return f"{100.0 * share:.3g} %"


def _exchanges(figure: Document) -> str:
    return "never" if figure["value"] is None else f"{figure['value']:,.0f}"
