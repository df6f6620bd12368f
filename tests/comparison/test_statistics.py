"""What is said of means and differences, against scipy, by properties, and by how often it errs."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats
from scipy.integrate import trapezoid

from pnpfusion.comparison import (
    bootstrap_interval,
    effective_robustness,
    holm,
    mean_interval,
    paired_difference,
    relative_robustness,
    retention,
    sign_flip_p,
)

Array = NDArray[np.float64]
SCORES = st.lists(st.floats(-10, 10).map(lambda x: round(x, 3)), min_size=2, max_size=8)
P_VALUES = st.lists(st.floats(0, 1), min_size=1, max_size=8)


def drawn(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).normal(0.7, 0.1, shape)


def test_an_interval_ends_where_its_values_must() -> None:
    free, bound = mean_interval([0.7, 0.9]), mean_interval([0.7, 0.9], within=(0.0, 1.0))
    assert free.low is not None
    assert free.low < 0
    assert (bound.mean, bound.low, bound.high) == (free.mean, 0.0, 1.0)
    less = paired_difference([0.9, 0.1], [0.1, 0.9], within=(-1.0, 1.0)).interval
    assert (less.low, less.high) == (-1.0, 1.0)
    narrow = [0.5, 0.51, 0.52]
    assert mean_interval(narrow, within=(0.0, 1.0)) == mean_interval(narrow)


@pytest.mark.parametrize("level", [0.9, 0.95])
@pytest.mark.parametrize("seeds", [2, 5, 20])
def test_the_interval_of_a_mean_is_students(seeds: int, level: float) -> None:
    values = drawn(seeds)
    ours = mean_interval(values, level)
    theirs = stats.ttest_1samp(values, 0).confidence_interval(level)
    assert ours.mean == pytest.approx(values.mean(), rel=1e-14)
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), rel=1e-12)
    assert ours.seeds == seeds


def test_folds_are_one_look_at_the_set() -> None:
    values = drawn(5, 4)
    assert mean_interval(values) == mean_interval(values.mean(1))
    flat = mean_interval(values.ravel())
    assert flat.seeds == 20
    assert flat.mean == pytest.approx(values.mean())


def test_one_seed_tells_nothing_of_others() -> None:
    one = mean_interval(drawn(1, 5))
    assert (one.low, one.high, one.seeds) == (None, None, 1)
    assert bootstrap_interval([0.5]) is None
    assert sign_flip_p([0.5]) == 1.0


@pytest.mark.parametrize("shape", [(5,), (6, 3)])
def test_a_paired_difference_is_that_of_the_paired_t_test(shape: tuple[int, ...]) -> None:
    ours, theirs = drawn(*shape), drawn(*shape, seed=1)
    found = paired_difference(ours, theirs)
    by_seed = [one.reshape(len(one), -1).mean(1) for one in (ours, theirs)]
    wanted = stats.ttest_rel(*by_seed).confidence_interval(0.95)
    assert found.interval.mean == pytest.approx((ours - theirs).mean())
    got = (found.interval.low, found.interval.high)
    assert got == pytest.approx((wanted.low, wanted.high), rel=1e-10)
    assert found.least_p == 2.0 ** (1 - ours.size)


@pytest.mark.parametrize("n", [2, 5, 9, 14])
def test_signs_are_flipped_exactly_as_scipy_does(n: int) -> None:
    ours, theirs = drawn(n), drawn(n, seed=1) - 0.05
    wanted = stats.permutation_test(
        (ours, theirs),
        lambda x, y, axis: (x - y).mean(axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=np.inf,
    )
    assert sign_flip_p(ours - theirs) == pytest.approx(wanted.pvalue, rel=1e-12)


def test_drawn_signs_come_near_all_signs() -> None:
    differences = drawn(18) - 0.65
    signs = np.array([*itertools.product([1, -1], repeat=18)])
    exact = np.mean(np.abs(signs @ differences) >= abs(differences.sum()) - 1e-12)
    draws = 20_000
    spread = (exact * (1 - exact) / draws) ** 0.5
    assert 0.001 < exact < 0.5
    for seed in range(3):
        assert sign_flip_p(differences, draws=draws, seed=seed) == pytest.approx(
            exact, abs=4 * spread + 1 / draws
        )


@settings(deadline=None, max_examples=60)
@given(SCORES, st.floats(0.1, 10))
def test_the_test_sees_neither_order_nor_sign_nor_unit(scores: list[float], unit: float) -> None:
    values = np.array(scores)
    p = sign_flip_p(values)
    assert 2.0 ** (1 - len(scores)) <= p <= 1
    for other in (values[::-1], -values, unit * values):
        assert sign_flip_p(other) == pytest.approx(p, abs=1e-12)


@settings(deadline=None, max_examples=60)
@given(SCORES, st.floats(-5, 5))
def test_a_difference_is_of_pairs(scores: list[float], shift: float) -> None:
    ours, theirs = np.array(scores), drawn(len(scores), seed=2)
    there, back = paired_difference(ours, theirs), paired_difference(theirs, ours)
    assert there.interval.mean == pytest.approx(-back.interval.mean, abs=1e-12)
    assert (there.interval.low or 0) == pytest.approx(-(back.interval.high or 0), abs=1e-9)
    assert there.p == pytest.approx(back.p, abs=1e-12)
    moved = paired_difference(ours + shift, theirs + shift)
    assert moved.interval.mean == pytest.approx(there.interval.mean, abs=1e-9)


def test_equal_models_do_not_differ() -> None:
    same = paired_difference(drawn(5, 2), drawn(5, 2))
    assert same.p == 1.0
    assert (same.interval.mean, same.interval.low, same.interval.high) == (0, 0, 0)
    assert same.bootstrap == (0, 0)


def test_intervals_and_tests_err_as_often_as_they_say() -> None:
    """Of 2000 repetitions without a difference, within four deviations of a binomial count."""
    many, n = 2000, 8
    values = np.random.default_rng(3).normal(size=(many, n))
    outside = rejected = 0
    for row in values:
        one = mean_interval(row)
        outside += not (one.low or 0) <= 0 <= (one.high or 0)
        rejected += sign_flip_p(row) <= 0.05
    slack = 4 * (many * 0.05 * 0.95) ** 0.5
    assert abs(outside - 0.05 * many) <= slack
    assert rejected <= 0.05 * many + slack
    assert rejected >= 0.03 * many  # it is no test that never rejects


def test_the_bootstrap_of_seeds_is_scipys() -> None:
    values = drawn(12)
    ours = bootstrap_interval(values)
    wanted = stats.bootstrap(
        (values,), np.mean, method="percentile", n_resamples=20_000, rng=np.random.default_rng(1)
    ).confidence_interval
    assert ours == pytest.approx((wanted.low, wanted.high), abs=0.03 * float(values.std()))


def test_the_bootstrap_draws_folds_too() -> None:
    """Folds that differ widen it, and seeds that differ alike do."""
    effect = np.array([-1.0, 0.0, 1.0])
    by_fold, by_seed = np.tile(effect, (5, 1)), np.tile(effect[:, None], (1, 5))
    low, high = bootstrap_interval(by_fold) or (0, 0)
    assert low < -0.4
    assert high > 0.4
    assert bootstrap_interval(by_seed) == pytest.approx((low, high), abs=0.05)
    assert mean_interval(by_fold).low == 0  # the same for every seed


def test_holm_by_its_definition() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([]) == []
    assert holm([0.6, 0.6]) == [1.0, 1.0]


@settings(deadline=None)
@given(P_VALUES, st.randoms())
def test_holm_only_raises_and_keeps_the_order(p_values: list[float], shuffle: object) -> None:
    corrected = holm(p_values)
    assert all(p <= q <= 1 for p, q in zip(p_values, corrected, strict=True))
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    assert all(corrected[a] <= corrected[b] for a, b in itertools.pairwise(order))
    assert min(corrected) == pytest.approx(min(1.0, len(p_values) * min(p_values)))
    assert sorted(holm(p_values[::-1])) == pytest.approx(sorted(corrected))


def test_holm_keeps_false_finds_rare() -> None:
    tests = np.random.default_rng(0).uniform(size=(2000, 6))
    false = np.mean([min(holm(row.tolist())) <= 0.05 for row in tests])
    assert 0.03 <= false <= 0.05 + 4 * (0.05 * 0.95 / 2000) ** 0.5


@pytest.mark.parametrize("bad", [[], [[[1.0]]], [0.5, float("nan")]])
def test_values_that_are_none(bad: object) -> None:
    with pytest.raises(ValueError, match="`values` must be"):
        mean_interval(bad)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="the same seeds and folds"):
        paired_difference([1.0, 2.0], [1.0])


def test_robustness_by_hand() -> None:
    """A published curve of errors, food and beverage stocks of MultiBench's late fusion."""
    errors = [2.1472, 2.1456, 2.1531, 2.1735, 2.2158, 2.2616, 2.2225, 2.1909, 2.2127]
    levels = [0.1 * k for k in range(9)]
    area = trapezoid(errors, levels) / 0.8
    assert relative_robustness(levels, errors, higher_is_better=False) == pytest.approx(-area)
    assert effective_robustness(errors, errors) == 0
    shifted = [error - 1 for error in errors]  # begins elsewhere, and rises as much
    assert effective_robustness(shifted, errors) == pytest.approx(0, abs=1e-12)
    flat = [2.0] * 9
    assert effective_robustness(flat, errors, higher_is_better=False) == pytest.approx(
        sum(errors) - 9 * errors[0]
    )
    assert retention([0.8, 0.4]) == [1.0, 0.5]
    assert relative_robustness([0, 1, 3], [1.0, 0.5, 0.0]) == pytest.approx((0.75 + 0.5) / 3)


def test_curves_that_are_none() -> None:
    with pytest.raises(ValueError, match="`levels` must rise"):
        relative_robustness([0, 0], [1.0, 1.0])
    with pytest.raises(ValueError, match="must be as many"):
        effective_robustness([1.0], [1.0, 2.0])
    with pytest.raises(ValueError, match="begin with one above 0"):
        retention([0.0])
