"""The figures of what is read off the way of an exchange are of work that was really done."""

from random import Random

from bench.observing import FEATURES, Subject, measure


def test_the_bench_reads_what_it_says_it_reads() -> None:
    subject = Subject(Random(1), 100)
    for note in subject.notes():
        subject.gateway.observer._look(note)
    flush = subject.gateway.collect().observed
    assert sum(row.observed.read for row in flush.observed) == 100
    assert sum(row.spread.predictions.n for row in flush.spreads) == 100
    assert all(len(row.spread.features) == FEATURES for row in flush.spreads)
    assert {sum(c.judged for c in row.observed.slices["country"].values()) for row in flush.observed} == {10, 90}


def test_every_part_has_a_figure() -> None:
    figures = measure(exchanges=50, repeats=2)["us_per_exchange"]
    assert isinstance(figures, dict)
    assert set(figures) == {"read_answer", "parse_request", "extract", "whole", "receipt"}
