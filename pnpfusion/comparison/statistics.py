r"""What may be said of means and differences over a few seeds and folds.

Values are (seeds, folds): the score of one training each. Folds cut the same samples up, so all
folds of a seed are one look at the whole set, and it is seeds that repeat it. Hence

- the interval of a mean is Student's over the means of seeds: with five of them a bootstrap would
  be too narrow by more than a third. It says what other seeds would give on these data;
- a difference is paired: both models see the same splits. Its interval is Student's likewise;
  beside it stands a bootstrap that draws both seeds and folds anew [Owe07], which says more of
  other data where there are folds;
- its test flips signs: if two models do not differ, each difference of a seed and fold could as
  well have the other sign. It is about these samples and splits, as the interval is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

LEVEL = 0.95  #: of intervals
EXACT = 14  #: differences up to which all signs are tried
DRAWS = 20_000  #: of signs where they are more, and of bootstraps


@dataclass(frozen=True)
class Interval:
    """A mean over seeds and folds, and where it lies."""

    mean: float
    low: float | None  #: None for a single seed, which tells nothing of others
    high: float | None
    seeds: int  #: that repeat it


@dataclass(frozen=True)
class Difference:
    """A model's scores less those of another on the same splits."""

    interval: Interval  #: Student's, over means of seeds
    bootstrap: tuple[float, float] | None  #: of seeds and folds; None for a single value
    p: float  #: of the two-sided test by signs
    least_p: float  #: that so few differences can give: 2 / 2**n


def mean_interval(
    values: ArrayLike,
    level: float = LEVEL,
    *,
    within: tuple[float, float] = (-math.inf, math.inf),
) -> Interval:
    r"""The mean and Student's interval over means of seeds.

    .. math:: \bar y \pm t_{S-1} \, s / \sqrt S, \qquad s^2 = \tfrac1{S-1} \sum_s (y_s - \bar y)^2

    Args:
        values: (seeds,) or (seeds, folds).
        level: how much of the distribution it holds.
        within: what the values cannot leave, as shares [0, 1]; the interval ends there.

    Raises:
        ValueError: no values, other shapes, or some that are not finite.
    """
    from scipy.stats import t

    means = _checked(values).mean(1)
    seeds = len(means)
    mean = float(means.mean())
    if seeds == 1:
        return Interval(mean, None, None, 1)
    half = float(t.ppf((1 + level) / 2, seeds - 1)) * float(means.std(ddof=1)) / seeds**0.5
    return Interval(mean, max(mean - half, within[0]), min(mean + half, within[1]), seeds)


def paired_difference(
    values: ArrayLike,
    reference: ArrayLike,
    *,
    level: float = LEVEL,
    seed: int = 0,
    within: tuple[float, float] = (-math.inf, math.inf),
) -> Difference:
    """How much larger ``values`` are than ``reference``, seed by seed and fold by fold.

    Args:
        values: (seeds,) or (seeds, folds).
        reference: the same seeds and folds of another model.
        level: of both intervals.
        seed: of bootstraps, and of signs where there are too many to try all.
        within: what differences cannot leave; see :func:`mean_interval`.

    Raises:
        ValueError: shapes that differ, or see :func:`mean_interval`.
    """
    ours, theirs = _checked(values), _checked(reference)
    if ours.shape != theirs.shape:
        raise ValueError(
            f"`values` and `reference` must be of the same seeds and folds, got {ours.shape} and "
            f"{theirs.shape}."
        )
    differences = ours - theirs
    return Difference(
        mean_interval(differences, level, within=within),
        bootstrap_interval(differences, level, seed=seed),
        sign_flip_p(differences, seed=seed),
        min(1.0, 2.0 ** (1 - differences.size)),
    )


def verdict(difference: Difference | None) -> Literal["above", "below", "open"]:
    """Where all of the interval lies, seen from 0; open where it holds 0, or is not known."""
    one = None if difference is None else difference.interval
    if one is None or one.low is None or one.high is None:
        return "open"
    return "above" if one.low > 0 else "below" if one.high < 0 else "open"


def sign_flip_p(differences: ArrayLike, *, draws: int = DRAWS, seed: int = 0) -> float:
    r"""The share of all signs of the differences whose mean is as far from 0 as theirs, or farther.

    Two-sided; exact for up to :data:`EXACT` differences. For more, N random signs are drawn and
    their own counts among them, :math:`p = (1 + \#) / (1 + N)`, which is never too small on
    average.

    Args:
        differences: of any shape.
        draws: N.
        seed: of the signs.

    Raises:
        ValueError: see :func:`mean_interval`.
    """
    flat = _checked(differences).ravel()
    seen = abs(flat.sum())
    slack = 1e-9 * np.abs(flat).sum()  # equal sums may differ by round-off
    if flat.size <= EXACT:
        bits = np.arange(2**flat.size)[:, None] >> np.arange(flat.size) & 1
        return float(np.mean(np.abs((1 - 2 * bits) @ flat) >= seen - slack))
    signs = np.random.default_rng(seed).integers(0, 2, (draws, flat.size))
    far = np.count_nonzero(np.abs((1 - 2 * signs) @ flat) >= seen - slack)
    return float((1 + far) / (1 + draws))


def bootstrap_interval(
    values: ArrayLike, level: float = LEVEL, *, draws: int = DRAWS, seed: int = 0
) -> tuple[float, float] | None:
    """Quantiles of the mean where seeds and folds are drawn anew, each with replacement [Owe07].

    Args:
        values: (seeds,) or (seeds, folds).
        level: what lies between the two.
        draws: how many.
        seed: of the draws.

    Returns:
        The lower and the upper one; None for a single value.

    Raises:
        ValueError: see :func:`mean_interval`.
    """
    table = _checked(values)
    if table.size == 1:
        return None
    generator = np.random.default_rng(seed)
    seeds, folds = table.shape
    rows = generator.multinomial(seeds, np.full(seeds, 1 / seeds), draws) / seeds
    columns = generator.multinomial(folds, np.full(folds, 1 / folds), draws) / folds
    means = np.einsum("ds,sf,df->d", rows, table, columns)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def holm(p_values: Sequence[float]) -> list[float]:
    """Each p so corrected that the chance of any false find among all stays below it [Hol79].

    The k-th smallest of m is multiplied by m - k + 1, and is no smaller than those before it.

    Args:
        p_values: m of them, in any order.

    Returns:
        The corrected ones, in the same order.
    """
    corrected = [0.0] * len(p_values)
    running = 0.0
    for k, place in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        running = max(running, min(1.0, (len(p_values) - k) * p_values[place]))
        corrected[place] = running
    return corrected


def _checked(values: ArrayLike) -> NDArray[np.float64]:
    """(seeds, folds)."""
    table = np.asarray(values, dtype=np.float64)
    if table.ndim == 1:
        table = table[:, None]
    if table.ndim != 2 or not table.size:
        raise ValueError(f"`values` must be (seeds,) or (seeds, folds), got {table.shape}.")
    if not np.isfinite(table).all():
        raise ValueError("`values` must be finite; leave out seeds that have none.")
    return table
