"""The split's benchmark: it measures the product's own test and counts what was lost."""

import numpy as np
import pytest

from app.domain.stats.eprocess import Outcomes, log_e_dirichlet, log_e_split, log_weighted_mean
from bench.split import Loss, by_dirichlet, by_tilt, median_delays


def test_its_methods_are_the_functions_of_one_run() -> None:
    weights = (0.1, 0.5)
    canary, stable = np.array([[90.0, 100.0], [480.0, 500.0]]), np.array([[900.0, 900.0], [520.0, 500.0]])
    for run in range(2):
        rows = list(zip(weights, canary[:, run], stable[:, run], strict=True))
        assert by_tilt(weights, canary, stable)[run] == log_e_split([Outcomes(w, int(c), int(s)) for w, c, s in rows])
        mean = log_weighted_mean(
            (0.5, sum(log_e_dirichlet((c, s), (w, 1 - w), k) for w, c, s in rows)) for k in (100.0, 1_000.0)
        )
        assert by_dirichlet(weights, canary, stable)[run] == pytest.approx(mean, abs=1e-8)


def test_a_greater_loss_is_found_sooner_and_no_loss_is_not_found() -> None:
    half = median_delays(Loss(0.5, (0.2,), 0, 20, most=5_000), 20, seed=3)
    fifth = median_delays(Loss(0.2, (0.2,), 0, 50, most=10_000), 20, seed=3)
    none = median_delays(Loss(0.0, (0.2,), 0, 50, most=2_000), 20, seed=3)
    for method in half:
        assert half[method] < fifth[method] < none[method] == float("inf")
