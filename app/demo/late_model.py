"""Logistic regressions that say how likely a flight is to arrive late, trained with numpy.

Rule: training and serving take a flight's features from the same function, so they cannot differ.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import chain
from math import exp
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from app.demo.flights import NOT_KNOWN_YEAR, NOT_REPORTED, Flight, History

Matrix: TypeAlias = NDArray[np.float64]
Features: TypeAlias = Sequence[tuple[int, float]]  # (position, value) of what is not zero

HOURS = 24
WEEKDAY_AT = HOURS
CARRIERS = ["9E", "AA", "AS", "B6", "DL", "EV", "F9", "FL", "HA", "MQ", "OO", "UA", "US", "VX", "WN", "YV"]
ORIGINS = ["EWR", "JFK", "LGA"]
CARRIER_AT: Mapping[str, int] = {code: WEEKDAY_AT + 7 + at for at, code in enumerate(CARRIERS)}
ORIGIN_AT: Mapping[str, int] = {code: WEEKDAY_AT + 7 + len(CARRIERS) + at for at, code in enumerate(ORIGINS)}
NUMBERS_AT = WEEKDAY_AT + 7 + len(CARRIERS) + len(ORIGINS)
NUMBERS = 9
# Day of the year before each month; 2013-01-01 was a Tuesday, which makes Monday 0.
DAYS_BEFORE = (0, 0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334)
# A departure that is later than this is a delayed one in the statistics of the US Department of Transportation.
LEFT_LATE_MINUTES = 15
NEWTON_STEPS = 6
RIDGE = 1.0


def hour_and_punctuality(flight: Flight) -> Features:
    """The hour, and whether the flight left late as the statistics of airlines mean it."""
    return [(flight.minute // 60, 1.0), (HOURS, float(flight.dep_delay > LEFT_LATE_MINUTES))]


def everything(flight: Flight) -> Features:
    """Hour, weekday, carrier, airport, weather, the plane's age and the delay; an unknown code has no feature."""
    present = [flight.minute // 60, WEEKDAY_AT + (DAYS_BEFORE[flight.month] + flight.day) % 7]
    present += [at for at in (CARRIER_AT.get(flight.carrier), ORIGIN_AT.get(flight.origin)) if at is not None]
    numbers = enumerate((*_weather(flight), *_age(flight.built), _delay(flight.dep_delay)), NUMBERS_AT)
    return [*((at, 1.0) for at in present), *numbers]


class Recipe(Enum):
    """The features that a model looks at: the function and how many positions it fills."""

    HOUR_AND_PUNCTUALITY = (hour_and_punctuality, HOURS + 1)
    EVERYTHING = (everything, NUMBERS_AT + NUMBERS)

    def __init__(self, features: Callable[[Flight], Features], width: int) -> None:
        self.features = features
        self.width = width


@dataclass(frozen=True, slots=True)
class LateModel:
    """A trained model; `weights` has one entry per position of its recipe."""

    recipe: Recipe
    weights: Sequence[float]

    def probability(self, flight: Flight) -> float:
        """Chance of arriving more than 30 minutes late, to be known at take-off."""
        log_odds = sum(self.weights[at] * value for at, value in self.recipe.features(flight))
        return 1 / (1 + exp(-log_odds))


@dataclass(frozen=True, slots=True)
class Quality:
    """How well a model predicts; log_loss in nats per flight, accuracy as a share."""

    log_loss: float
    accuracy: float


def train(recipe: Recipe, known: History) -> LateModel:
    """Maximum likelihood with a small ridge, by Newton's method."""
    features = _matrix(recipe, known.flights)
    late = known.late.astype(np.float64)
    weights = np.zeros(recipe.width)
    for _ in range(NEWTON_STEPS):
        chance = 1 / (1 + np.exp(-features @ weights))
        gradient = features.T @ (late - chance) - RIDGE * weights
        curvature = (features * (chance * (1 - chance))[:, None]).T @ features + RIDGE * np.eye(recipe.width)
        weights = weights + np.linalg.solve(curvature, gradient)
    return LateModel(recipe, weights.tolist())


def quality(model: LateModel, read: Callable[[Flight], Flight], known: History) -> Quality:
    """Measured on flights the model should not have seen, as `read` hands them to it."""
    chance = np.array([model.probability(read(flight)) for flight in known.flights])
    log_loss = -np.log(np.where(known.late, chance, 1 - chance)).mean()
    return Quality(float(log_loss), float(((chance > 0.5) == known.late).mean()))


def _matrix(recipe: Recipe, flights: Sequence[Flight]) -> Matrix:
    """Shape (flights, positions)."""
    rows = [recipe.features(flight) for flight in flights]
    entries = np.fromiter(chain.from_iterable(chain.from_iterable(rows)), np.float64).reshape(-1, 2)
    matrix = np.zeros((len(flights), recipe.width))
    matrix[np.repeat(np.arange(len(rows)), [len(row) for row in rows]), entries[:, 0].astype(np.intp)] = entries[:, 1]
    return matrix


def _weather(flight: Flight) -> tuple[float, ...]:
    """The weather; a missing report counts as usual weather."""
    rain = _reported(flight.precip_hundredths_in, 0)
    humid = _reported(flight.humidity_pct, 60) / 100
    wind = _reported(flight.wind_mph, 10) / 10
    visible = _reported(flight.visib_quarter_miles, 40) / 40
    return float(rain > 0), min(rain, 20) / 10, humid, humid * humid, wind, visible


def _reported(value: int, usual: int) -> int:
    return usual if value == NOT_REPORTED else value


def _age(built: int) -> tuple[float, float]:
    """Whether the year is missing, and decades of age if it is not."""
    return (1.0, 0.0) if built == NOT_KNOWN_YEAR else (0.0, (2013 - built) / 10)


def _delay(minutes: float) -> float:
    """Hours of delay; what lies beyond half an hour early or two hours late says no more."""
    return max(-0.5, min(minutes / 60, 2.0))
