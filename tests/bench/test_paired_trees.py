"""Two trees of this project by turns: the interval of their ratios, and one small run of a tree against itself."""

import json

import numpy as np
import pytest
from numpy.random import default_rng

from bench.paired import EXCHANGES, interval, main
from bench.servers import CHECKOUT


def test_the_interval_holds_the_median_as_often_as_it_says() -> None:
    rng = default_rng(1)
    held = 0
    for _ in range(1_000):
        low, middle, high = interval(list(rng.lognormal(0.0, 0.5, 200)))
        assert low <= middle <= high
        held += low <= 1.0 <= high
    assert 930 <= held <= 975


def test_the_median_is_that_of_the_ratios_and_not_of_an_order() -> None:
    assert interval([3.0, 1.0, 2.0]) == (1.0, 2.0, 3.0)
    assert interval(list(np.full(50, 1.5))) == (1.5, 1.5, 1.5)


@pytest.mark.bench
def test_a_tree_beside_itself_is_measured_in_both() -> None:
    said: list[str] = []
    main([str(CHECKOUT), "--pairs", "2"], said.append)
    told = json.loads(said[0])
    assert (told["pairs"], told["exchanges_a_burst"]) == (2, EXCHANGES)
    assert min(told["this_us"], told["other_us"], told["ratio"]) > 0
