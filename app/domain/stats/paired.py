"""The mirror's tests: each exchange was answered by both versions, so the pair decides.

Rule: nothing is randomised and nobody is exposed; fair while a pair's two answers depend on the
exchange and the version alone. Only pairs that both answered count. Half the exchanges of an
even split show the same effect, and fewer the more alike the answers are.

Source: McNemar 1947, Psychometrika 12, made sequential by the tilt mixture of `eprocess`;
Howard, Ramdas, McAuliffe & Sekhon 2021, Ann. Stat. 49(2), Theorem 4 with predictable centre 0.
"""

from collections.abc import Sequence

from app.domain.stats.eprocess import WORSE, Outcomes, log_e_tilt
from app.domain.stats.score import Score, Sums, checked_sums

# Scale c of `paired_score` in both directions: outcomes in [0, 1] differ by at most 1.
PAIRED_STEP = 1.0


def log_e_discordant(canary_only: int, stable_only: int, r0: float = 1.0, excesses: Sequence[float] = WORSE) -> float:
    """Evidence against "a pair fails for the canary alone at most r0 times as often as for stable alone".

    Given that just one of the two failed, each is as likely to be the one if they fail equally
    often: X ~ Bin(D, 1/2), the coin of `eprocess.log_e_tilt` at weight 1/2.

    Args:
        canary_only: Pairs in which only the canary's answer was bad, >= 0.
        stable_only: Pairs in which only stable's answer was bad, >= 0.
        r0: Largest harmless ratio of the two, > 0. It is no ratio of rates: pairs that fail for
            both are left out.
        excesses: `evidence.WORSE`, or `evidence.BETTER` for "at least r0 times as often".

    Returns:
        log E; 0.0 before any discordant pair.

    Raises:
        ValueError: A negative or impossible count.

    Source:
        McNemar 1947; Lindon, Sanden & Shirikian 2022 for the mixture.
    """
    return log_e_tilt((Outcomes(0.5, canary_only, stable_only),), r0, excesses)


def paired_score(differences: Sums) -> Score:
    """The score process of paired differences, for everything that `score` does with one.

    S = sum D, V = sum D^2, W = n, with D = canary's outcome minus stable's, in [-1, 1]. So
    exp(l S - (-log(1-l) - l) V) has mean at most exp(l n d) when no mean difference exceeds d:
    `score.log_e_worse`, `score.log_e_not_worse` and `score.difference_interval` hold with the
    scale `PAIRED_STEP`. Its variance per exchange is 2 s^2 (1 - correlation) where an even split has 4 s^2.

    Args:
        differences: Pairs, sum of D and sum of D squared.

    Raises:
        ValueError: Sums that no such differences have.

    Source:
        Howard et al. 2021, Theorem 4 and Proposition 9.
    """
    n, total, squares = checked_sums(differences, least=-1.0)
    return Score(total, squares, n)
