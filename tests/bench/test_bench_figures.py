"""From cycles to figures to goals to a page: pure arithmetic and text."""

import json
from pathlib import Path
from typing import Any

import pytest

from bench import goals, report
from bench.figures import COMPILED, Cost, Cycles, Document, Measured, quartiles, summary
from bench.plot import ratios_to_nginx


def cycles(**cpu_us: tuple[float, ...]) -> Cycles:
    """One cycle per place; peers with fewer figures took part in the first ones only."""
    count = max(len(figures) for figures in cpu_us.values())
    return [
        {name: Cost(figures[place], 1_000.0) for name, figures in cpu_us.items() if place < len(figures)}
        for place in range(count)
    ]


def in_full() -> Measured:
    """A run in which everything was measured."""
    small = cycles(
        turnback=(30.0, 60.0, 36.0),
        turnback_compiled=(22.0, 33.0, 12.0),
        nginx=(20.0, 30.0, 12.0),
        haproxy=(20.0, 30.0, 12.0),
        envoy=(60.0, 90.0, 36.0),
        fastapi_aiohttp=(600.0,),
        fastapi_httpx=(3000.0, 3000.0, 720.0),
        litellm=(9000.0,),
    )
    return Measured(
        infer=small,
        numbered=cycles(turnback=(30.0, 60.0), turnback_compiled=(24.0, 36.0), nginx=(20.0, 30.0)),
        large=cycles(turnback=(150.0,), nginx=(200.0,), envoy=(300.0,)),
        stream=cycles(turnback=(24.0,), turnback_compiled=(26.0,), nginx=(20.0,)),
        added_first_ms=[{"turnback": 0.4, "nginx": 0.3}],
        added_p50_us={
            500: [
                {"turnback": 100.0, "turnback_compiled": 90.0, "nginx": 50.0},
                {"turnback": 300.0, "turnback_compiled": 220.0, "nginx": 200.0},
                {"turnback": 250.0, "turnback_compiled": 240.0, "nginx": 240.0},
            ]
        },
        variants=[
            {
                "one_model": Cost(33.0, 1.0),
                "one_of_many_models": Cost(34.0, 1.0),
                "many_paths": Cost(40.0, 1.0),
                "many_models": Cost(50.0, 1.0),
                "unrecorded": Cost(30.0, 1.0),
            }
        ],
        recording_us={"tally": 0.8, "tally_and_journal": 1.9},
        rss_mb={"turnback": 50.04, "nginx": 10.0},
        idle_kib={"turnback": 4.0},
        idle_connections=2_000,
        models=10_000,
    )


def test_ratios_are_taken_inside_a_cycle_before_the_median() -> None:
    """The machine slows down threefold: medians of all bursts would give 1.8, each cycle says 1.5, 2 or 3."""
    figures = summary(in_full())
    assert figures["cpu_us"]["turnback"] == 36
    assert figures["cpu_us"]["nginx"] == 20
    assert (figures["ratio_nginx"], figures["ratio_nginx_iqr"]) == (2.0, [1.75, 2.5])
    assert (figures["ratio_fastapi_httpx"], figures["ratio_fastapi_httpx_iqr"]) == (50.0, [35.0, 75.0])
    assert (figures["ratio_nginx_numbered"], figures["ratio_nginx_numbered_iqr"]) == (1.75, [1.62, 1.88])
    assert figures["cpu_us_range"]["nginx"] == {"min": 12, "q1": 16, "q3": 25, "max": 30, "bursts": 3}


def test_a_peer_of_few_cycles_is_paired_within_those() -> None:
    figures = summary(in_full())
    assert figures["cpu_us_range"]["litellm"]["bursts"] == 1
    assert (figures["ratio_fastapi_aiohttp"], figures["ratio_litellm"]) == (20.0, 300.0)


def test_a_compiled_data_plane_has_ratios_of_its_own() -> None:
    figures = summary(in_full())
    assert figures["compiled"]["ratio_nginx"] == 1.1
    assert "compiled" not in figures["large"]
    assert "compiled" not in summary(Measured(infer=cycles(turnback=(1.0,))))


def test_what_did_not_run_has_no_ratio() -> None:
    figures = summary(Measured(infer=cycles(turnback=(30.0,), nginx=(20.0,))))
    assert (figures["ratio_envoy"], figures["ratio_envoy_iqr"], figures["ratio_nginx_numbered"]) == (None, None, None)
    assert not {"large", "stream", "memory", "recording", COMPILED} & figures.keys()


def test_added_latency_is_the_median_of_its_cycles_and_stands_beside_nginx_s() -> None:
    figures = summary(in_full())
    assert figures["added_p50_us"] == {
        "turnback": {"500": 250},
        "turnback_compiled": {"500": 220},
        "nginx": {"500": 200},
    }
    assert figures["added_p50_us_iqr"]["turnback"]["500"] == [175, 275]
    beside = figures["added_p50_beside_nginx"]["500"]
    compiled = beside.pop("compiled")
    assert beside == {"ratio": 1.25, "more_us": 50.0, "more_us_iqr": [30.0, 75.0], "cycles": 3}
    assert compiled == {"ratio": 1.1, "more_us": 20.0, "more_us_iqr": [10.0, 30.0], "cycles": 3}


def test_nothing_is_divided_by_a_peer_that_added_nothing() -> None:
    added = {500: [{"turnback": 10.0, "nginx": -1.0}]}
    figures = summary(Measured(infer=cycles(turnback=(1.0,)), added_p50_us=added))
    assert figures["added_p50_beside_nginx"]["500"]["ratio"] is None


def test_our_own_variants_are_paired_with_what_differs_in_one_thing() -> None:
    figures = summary(in_full())
    assert (figures["many_models"]["ratio"], figures["many_models"]["ratio_spread"]) == (1.03, 1.25)
    assert (figures["recording"]["ratio"], figures["recording"]["cost_us"]) == (1.1, 3.0)


@pytest.mark.parametrize(("samples", "expected"), [([], None), ([3.0], [3.0, 3.0]), ([1.0, 2.0, 3.0], [1.5, 2.5])])
def test_quartiles_of_nothing_are_none(samples: list[float], expected: list[float] | None) -> None:
    assert quartiles(samples, 1) == expected


def test_a_full_run_judges_every_goal_but_those_of_rates_it_did_not_play() -> None:
    judged = goals.judged(summary(in_full()))
    assert {name for name, goal in judged.items() if goal["met"] is None} == {
        "added_p50_2000",
        "added_p50_2000_compiled",
        "large_cpu_compiled",
    }
    missed = {name for name, goal in judged.items() if goal["met"] is False}
    assert missed == {"cpu_nginx", "cpu_nginx_numbered", "cpu_envoy", "added_p50_500", "stream_cpu_compiled"}
    assert judged["cpu_nginx"]["measured"] == 2.0
    assert judged["cpu_nginx"]["limit"] == 1.5


def test_a_goal_is_met_at_its_limit_and_missed_beyond() -> None:
    assert [goals.judged({"ratio_nginx": ratio})["cpu_nginx"]["met"] for ratio in (1.5, 1.51)] == [True, False]


def document() -> Document:
    figures = summary(in_full())
    return figures | {
        "goals": goals.judged(figures),
        "connections": {"turnback": 64},
        "not_run": {"wrk": "apt-get install wrk"},
        "load": "own",
        "python": {"version": "3.11.7", "implementation": "CPython", "pgo": False, "lto": None, "compiler": "GCC"},
        "machine": {
            "processor": "a processor",
            "cpus": 2,
            "system": "linux 6",
            "proxy_cpu": 0,
            "load_cpu": 1,
            "shared_cpu": False,
            "load_average": 0.3,
        },
        "measured_at": "2026-11-25T09:00:00+00:00",
        "cycles": 3,
        "seconds": 12.3,
    }


def rows_of(page: str) -> dict[str, list[str]]:
    """First cell of every table row to its other cells; the last one wins."""
    lines = [line.strip("| ").split(" | ") for line in page.splitlines() if line.startswith("| ")]
    return {cells[0]: cells[1:] for cells in lines}


def test_the_page_says_when_where_and_on_which_python_it_was_measured() -> None:
    page = report.markdown(document())
    for said in (
        "2026-11-25",
        "a processor",
        "load average at the start: 0.3",
        "CPython 3.11.7",
        "PGO no, LTO not said",
    ):
        assert said in page
    assert "- wrk: apt-get install wrk" in page
    assert "LiteLLM does far more" in page


def test_the_page_s_tables_hold_the_figures() -> None:
    rows = rows_of(report.markdown(document()))
    assert rows["CPU per 1 KiB exchange: at most 1.5 × nginx"] == ["2", "**no**"]
    assert rows["CPU per 100 KiB both ways: at most nginx"] == ["0.75", "yes"]
    assert rows["added p50 at 2,000/s: at most 1.2 × nginx"][-1] == "not measured"
    assert rows["litellm"][4] == "1/300"
    assert "tally and journal 1.9 µs" in report.markdown(document())
    assert rows["recording over none"] == ["1.1", "1.1–1.1"]


def test_every_row_of_a_table_has_a_cell_for_every_head() -> None:
    tables: list[list[str]] = [[]]
    for line in report.markdown(document()).splitlines():
        if line.startswith("|"):
            tables[-1].append(line)
        elif tables[-1]:
            tables.append([])
    for table in filter(None, tables):
        assert len({line.count("|") for line in table}) == 1


def test_a_report_is_three_files_and_the_same_run_writes_the_same_bytes(tmp_path: Path) -> None:
    written: list[dict[str, bytes]] = []
    for name in ("one", "other"):
        folder = tmp_path / name
        folder.mkdir()
        report.write(document(), folder)
        written.append({path.name: path.read_bytes() for path in folder.iterdir()})
    assert written[0].keys() == {"proxy.md", "proxy.svg", "proxy.json"}
    assert written[0] == written[1]
    assert json.loads(written[0]["proxy.json"]) == document()
    assert b"(proxy.svg)" in written[0]["proxy.md"]


def test_the_picture_has_our_ratio_for_every_load_that_had_nginx() -> None:
    assert ratios_to_nginx(document()) == {
        "1 KiB": (1.75, 2.0, 2.5),
        "1 KiB, numbered": (1.62, 1.75, 1.88),
        "100 KiB": (0.75, 0.75, 0.75),
        "stream": (1.2, 1.2, 1.2),
    }
    without: dict[str, Any] = document() | {"ratio_nginx": None, "large": {}}
    assert list(ratios_to_nginx(without)) == ["1 KiB, numbered", "stream"]
