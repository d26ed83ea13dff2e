"""Every method reproduces what other implementations compute, at each vector's own tolerance.

The file holds the vectors of every function that exists here. Not among them, because nothing
here computes it: the two-sided normal log mixture (only its interval is used), a beta-binomial
bound in the sum (rates are inverted instead), gamma-Poisson and stitched boundaries, quantile
sequences, betting and empirical-Bernstein sequences (no functions of totals), priors other than
k times the tested shares, means of normal variables, and what only the benches' rivals compute.
"""

import json
from collections.abc import Callable, Mapping
from math import comb, exp, log
from pathlib import Path
from typing import Any

import pytest

from app.domain.stats import e_detector
from app.domain.stats.e_bh import discoveries
from app.domain.stats.eprocess import Outcomes, log_e_dirichlet, log_e_full, log_e_tilt, ratio_interval
from app.domain.stats.normal_mixture import normal_difference_interval, normal_log_mixture, normal_mixture_bound
from app.domain.stats.planning import information
from app.domain.stats.rate import concentration_for, log_e_above, rate_bounds
from app.domain.stats.score import (
    Score,
    ScoreEpoch,
    best_rho,
    binary,
    difference_interval,
    gamma_exponential_bound,
    gamma_exponential_log_mixture,
    scale_not_worse,
    scale_worse,
    score,
)

VECTORS = json.loads(Path(__file__).with_name("vectors.json").read_text(encoding="utf-8"))["vectors"]
Given = Mapping[str, Any]


def mixture(given: Given) -> float:
    rho = best_rho(given["v_opt"], 2 * given.get("alpha_opt", 0.05))
    return gamma_exponential_log_mixture(given["s"], given["v"], rho, given["c"])


def mixture_bound(given: Given) -> float:
    rho = best_rho(given["v_opt"], 2 * given.get("alpha_opt", 0.05))
    return gamma_exponential_bound(given["v"], given["alpha"], rho, given["c"])


def normal_rho(given: Given, sides: int) -> float:
    return best_rho(given["v_opt"], 0.05 * 2 / sides)


def normal_bound(given: Given) -> float:
    return normal_mixture_bound(given["v"], given["alpha"], normal_rho(given, 1))


def normal_reach(given: Given) -> float:
    return normal_difference_interval(Score(0.0, given["v"], 1.0), given["alpha"], normal_rho(given, 2))[1]


def as_counts(given: Given, sides: int) -> tuple[float, float, float, float]:
    """Bad answers, all answers, rate and concentration of a walk with the steps h and -g."""
    g, h = given["g"], given["h"]
    n = given["v"] / (g * h)
    concentration = max(best_rho(given["v_opt"], 0.05 * 2 / sides) / (g * h) - 1.0, 1e-3)
    return (given["s"] + g * n) / (g + h), n, g / (g + h), concentration


def beta_binomial(given: Given) -> float:
    bad, n, rate, concentration = as_counts(given, 2)
    return log_e_dirichlet((bad, n - bad), (rate, 1.0 - rate), concentration)


def bounds_of_a_rate(given: Given) -> list[float]:
    concentration = concentration_for(given["t_opt"], 0.05)
    return list(rate_bounds(given["bad"], given["n"], given["alpha"], concentration))


def alarm(given: Given) -> dict[str, list[float]]:
    ratios = e_detector.detectable(given["most"])
    detector, logs = e_detector.unalarmed(ratios), []
    for bad in given["bad"]:
        detector = e_detector.after_bucket(detector, e_detector.against_rate(bad, given["n"], given["most"], ratios))
        logs.append(e_detector.log_alarm(detector))
    return {"log_M": logs}


def bad_only(given: Given) -> list[Outcomes]:
    epochs = zip(given["w"], given["canary_errors"], given["total_errors"], strict=True)
    return [Outcomes(w, canary, total - canary) for w, canary, total in epochs]


def bad_and_good(given: Given) -> list[Outcomes]:
    names = ("w", "canary_err", "base_err", "canary_ok", "base_ok")
    return [Outcomes(*epoch) for epoch in zip(*(given[name] for name in names), strict=True)]


def tilt(given: Given) -> dict[str, float]:
    log_e = log_e_tilt(bad_only(given), given["r0"])
    return {"log_e": log_e, "p": min(1.0, exp(-log_e))}


def full(given: Given) -> dict[str, float]:
    return {"log_e": log_e_full(bad_and_good(given), given["p_ref"])}


def score_process(given: Given) -> dict[str, Any]:
    epochs = [
        ScoreEpoch(
            each.weight,
            binary(each.canary_bad + each.canary_good, each.canary_bad),
            binary(each.stable_bad + each.stable_good, each.stable_bad),
            units=each.canary_bad + each.canary_good + each.stable_bad + each.stable_good,
        )
        for each in bad_and_good(given)
    ]
    totals = score(epochs, given["m"])
    worse = scale_worse(given["m"], min(given["w"]), max(given["w"]))
    not_worse = scale_not_worse(given["m"], min(given["w"]), max(given["w"]))
    rho = best_rho(given["v_opt"], 2 * given["alpha_opt"])
    return {
        "S": totals.score,
        "V": totals.variance,
        "W": totals.overlap,
        "c": worse,
        "rho": rho,
        "log_e": gamma_exponential_log_mixture(totals.score, totals.variance, rho, worse),
        "diff_hat": totals.score / totals.overlap,
        "diff_CS": list(difference_interval(totals, given["alpha"], rho, worse, not_worse)),
    }


def expectation(given: Given) -> dict[str, float]:
    n: int = given["n"]
    w: float = given["w"]

    def at(share: float) -> float:
        return sum(
            comb(n, k) * share**k * (1 - share) ** (n - k) * exp(log_e_tilt([Outcomes(w, k, n - k)]))
            for k in range(n + 1)
        )

    return {"at_null": at(given["w"]), "at_0p8_of_null_must_be_below_1": at(0.8 * given["w"])}


def split(given: Given) -> float:
    return exp(log_e_dirichlet(given["counts"], given["shares"], given["concentration"]))


def worked_example(given: Given) -> dict[str, float]:
    names = ("w", "canary_err", "base_err", "canary_n", "base_n")
    rows = list(zip(*(given[name] for name in names), strict=True))
    epochs = [Outcomes(w, a, b, int(n) - a, int(m) - b) for w, a, b, n, m in rows]
    log_e = log_e_tilt(epochs)
    return {"log_e_errors_only": log_e, "p": exp(-log_e), "log_e_full": log_e_full(epochs, given["p_ref"])}


COMPUTE: Mapping[str, Callable[[Given], Any]] = {
    "beta_binomial": beta_binomial,
    "best_rho": lambda given: best_rho(given["v"], given["alpha"]),
    "discoveries": lambda given: list(discoveries([log(e) for e in given["e"]], given["q"])),
    "expectation": expectation,
    "gamma_exponential_log_mixture": mixture,
    "gamma_exponential_mixture_bound": mixture_bound,
    "information_limit": lambda given: log(100) / information(given["pc"], given["pb"], given["w"]),
    "log_alarm": alarm,
    "log_e_above": lambda given: log_e_above(*as_counts(given, 1)),
    "log_e_full": full,
    "log_e_tilt": tilt,
    "normal_difference_interval": normal_reach,
    "normal_log_mixture": lambda given: normal_log_mixture(given["s"], given["v"], normal_rho(given, 1)),
    "normal_mixture_bound": normal_bound,
    "rate_bounds": bounds_of_a_rate,
    "ratio_interval": lambda given: list(ratio_interval(bad_only(given), given["alpha"])),
    "score": score_process,
    "split_bayes_factor": lambda given: {"bayes_factor": split(given)},
    "split_p_value": lambda given: {"p_value": 1 / split(given)},
    "worked_example": worked_example,
}


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["id"])
def test_the_vector_is_reproduced(vector: Given) -> None:
    computed = COMPUTE[vector["function"]](vector["input"])
    expected, tolerance = vector["expected"], {"rel": vector.get("rel_tol", 0), "abs": vector.get("abs_tol", 0)}
    if not isinstance(expected, dict):
        assert computed == pytest.approx(expected, **tolerance)
        return
    for name, value in expected.items():
        assert computed[name] == pytest.approx(value, **tolerance), name


def test_all_vectors_are_used() -> None:
    assert len(VECTORS) == 66
    assert {vector["function"] for vector in VECTORS} == set(COMPUTE)
