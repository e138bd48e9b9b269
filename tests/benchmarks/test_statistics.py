"""Intervals, tests, corrections and ranks, against slow transcriptions and scipy."""

from __future__ import annotations

import math
import random
from itertools import combinations, product

import numpy as np
import pytest
from scipy import stats

from landbridge.benchmarks.statistics import (
    PAIRED_T,
    SIGN_FLIP,
    average_ranks,
    half_width,
    holm,
    over_tasks_and_seeds,
    paired_t,
    sign_flip,
    signed_rank,
    standard_error,
)


def made(count, shift=0.0, seed=0):
    draw = random.Random(seed)
    return [shift + draw.gauss(0, 1) for _ in range(count)]


def slow_sign_flip(blocks):
    """Every sign pattern, one after the other."""
    observed = sum(blocks)
    below = either = total = 0
    for signs in product((1, -1), repeat=len(blocks)):
        flipped = sum(sign * block for sign, block in zip(signs, blocks, strict=True))
        total += 1
        below += flipped <= observed + 1e-9
        either += abs(flipped) >= abs(observed) - 1e-9
    return either / total, below / total


@pytest.mark.parametrize("count", [2, 3, 5, 30])
@pytest.mark.parametrize("level", [0.9, 0.95])
def test_intervals_are_students(count, level):
    values = made(count, 70)
    low, high = stats.t.interval(level, count - 1, loc=np.mean(values), scale=stats.sem(values))
    assert half_width(values, level) == pytest.approx((high - low) / 2, rel=1e-10)
    assert standard_error(values) == pytest.approx(stats.sem(values), rel=1e-12)


def test_intervals_of_three_are_the_tables():
    assert half_width([1.0, 2.0, 3.0]) == pytest.approx(4.302652729911275 / math.sqrt(3))


def test_one_value_has_no_interval():
    assert half_width([70.0]) is None
    assert standard_error([70.0]) is None
    assert half_width([70.0, 70.0]) == 0.0


def test_a_level_outside_its_range_is_a_sentence():
    with pytest.raises(ValueError, match=r"half_width needs a level between 0 and 1; got 95\. Pass 0\.95 for 95%"):
        half_width([1.0, 2.0], 95)


def test_intervals_hold_the_mean_as_often_as_they_say():
    held = sum(abs(sum(values := made(3, seed=seed)) / 3) <= half_width(values) for seed in range(2000))
    assert held / 2000 == pytest.approx(0.95, abs=0.015)


@pytest.mark.parametrize("shift", [-2.0, 0.0, 3.0])
@pytest.mark.parametrize("count", [2, 3, 10])
def test_paired_t_is_scipys(count, shift):
    values = made(count, shift)
    test = paired_t(values)
    assert test.two_sided == pytest.approx(stats.ttest_1samp(values, 0).pvalue, rel=1e-9)
    assert test.below == pytest.approx(stats.ttest_1samp(values, 0, alternative="less").pvalue, rel=1e-9)
    assert (test.test, test.least) == (PAIRED_T, 0.0)


def test_paired_t_without_spread_has_no_answer():
    assert paired_t([-2.0]) is None
    assert paired_t([]) is None
    assert paired_t([-2.0, -2.0 + 1e-13, -2.0]) is None
    assert paired_t([0.0, 0.0, 0.0])[:2] == (1.0, 1.0)


@pytest.mark.parametrize("shape", [(1, 1), (1, 3), (2, 3), (4, 3), (12, 1)])
@pytest.mark.parametrize("shift", [-1.0, 0.0])
def test_sign_flip_against_all_patterns(shape, shift):
    tasks = [made(shape[1], shift, seed) for seed in range(shape[0])]
    either, below = slow_sign_flip([value for task in tasks for value in task])
    test = sign_flip(tasks)
    assert (test.two_sided, test.below) == (pytest.approx(either), pytest.approx(below))
    assert test.least == 2.0 ** -(shape[0] * shape[1])
    assert test.test == SIGN_FLIP


def test_sign_flip_takes_ties_and_zeros():
    blocks = [0.5, -0.5, 0.5, 0.0, -1.0, 0.5]  # accuracies of few images come in steps
    either, below = slow_sign_flip(blocks)
    test = sign_flip([[block] for block in blocks])
    assert (test.two_sided, test.below) == (pytest.approx(either), pytest.approx(below))
    assert test.least == 2.0**-5  # the zero has no sign to flip
    assert sign_flip([[0.0, 0.0], [0.0, 0.0]])[:2] == (1.0, 1.0)


def test_sign_flip_draws_where_there_are_too_many_patterns():
    tasks = [made(3, -0.3, seed) for seed in range(6)]  # 2^18 patterns
    values = np.array(tasks).ravel()
    sums = np.zeros(1)
    for value in values:
        sums = np.concatenate([sums + value, sums - value])
    exact = (sums <= values.sum() + 1e-9).mean()
    test = sign_flip(tasks)
    assert test.below == pytest.approx(exact, abs=4 * math.sqrt(exact * (1 - exact) / 65536))
    assert test.two_sided == pytest.approx(2 * exact, rel=0.1)
    assert sign_flip(tasks) == test  # the draws are always the same
    assert sign_flip([made(3, -9, seed) for seed in range(12)]).below == test.least == 1 / 65536


def test_seeds_that_all_say_the_same_count_once():
    tasks = [[-2.0] * 5, [-1.0] * 5, [-3.0] * 5]
    assert sign_flip(tasks).below == 1 / 8
    assert sign_flip(tasks)[:2] == sign_flip([[-2.0], [-1.0], [-3.0]])[:2]
    mixed = [[-2.0] * 2, [-1.0, -1.5]]
    assert sign_flip(mixed).below == 1 / 8  # -4, -1, -1.5
    assert sign_flip([[-4.0, 0.0], [1.0, 3.5]]).below == slow_sign_flip([-4.0, 1.0, 3.5])[1]


@pytest.mark.parametrize("test", [sign_flip, over_tasks_and_seeds])
def test_tasks_with_different_seeds_are_a_sentence(test):
    with pytest.raises(ValueError, match=f"{test.__name__} needs as many differences for every task; got 1 and 2. K"):
        test([[1.0, 2.0], [1.0]])


def test_nothing_to_test():
    assert sign_flip([]) is None
    assert sign_flip([[], []]) is None


def test_sign_flip_is_right_as_often_as_it_says():
    alarms = sum(sign_flip([made(2, 0, 7 * seed + task) for task in range(5)]).below < 0.05 for seed in range(2000))
    assert alarms / 2000 == pytest.approx(0.05, abs=0.015)


def test_which_test_depends_on_how_many_differences_there_are():
    few = [made(3, -1, seed) for seed in range(3)]
    averages = [sum(task[seed] for task in few) / 3 for seed in range(3)]
    assert over_tasks_and_seeds(few)[:3] == (*paired_t(averages)[:2], PAIRED_T)
    many = [made(3, -1, seed) for seed in range(4)]
    assert over_tasks_and_seeds(many) == sign_flip(many)
    one_seed = [made(1, -1, seed) for seed in range(4)]
    assert over_tasks_and_seeds(one_seed) == sign_flip(one_seed)
    assert over_tasks_and_seeds([[1.0, 2.0]]).test == PAIRED_T
    assert over_tasks_and_seeds([[1.0, 1.0], [2.0, 2.0]]) is None
    assert over_tasks_and_seeds([]) is None


@pytest.mark.parametrize("count", [6, 12])
@pytest.mark.parametrize("shift", [-0.8, 0.0, 0.5])
def test_signed_rank_is_wilcoxons(count, shift):
    values = made(count, shift, seed=3)
    test = signed_rank(values)
    assert test.two_sided == pytest.approx(stats.wilcoxon(values, method="exact").pvalue, rel=1e-9)
    assert test.below == pytest.approx(stats.wilcoxon(values, alternative="less", method="exact").pvalue, rel=1e-9)


def test_signed_rank_shares_ranks_and_leaves_zeros_out():
    values = [0.5, 0.5, -0.5, 1.0, -2.0, 2.0, 0.0, 1.5]
    kept = [value for value in values if value]
    ranks = stats.rankdata(np.abs(kept))
    either, below = slow_sign_flip([math.copysign(r, value) for r, value in zip(ranks, kept, strict=True)])
    test = signed_rank(values)
    assert (test.two_sided, test.below) == (pytest.approx(either), pytest.approx(below))
    every_pattern = stats.PermutationMethod(n_resamples=np.inf)
    assert test.two_sided == pytest.approx(stats.wilcoxon(kept, method=every_pattern).pvalue)


def test_signed_rank_of_many_tasks_is_near_the_exact_one():
    values = made(20, 0.35, seed=1)
    assert signed_rank(values).two_sided == pytest.approx(stats.wilcoxon(values, method="exact").pvalue, rel=0.1)


def test_five_tasks_are_too_few_for_signed_ranks():
    assert signed_rank([1.0, 2.0, 3.0, 4.0, 5.0]) is None


def slow_holm(values):
    """By closing: a hypothesis falls at the largest Bonferroni p of all sets of hypotheses that it is in."""
    places = range(len(values))
    adjusted = []
    for place in places:
        largest = 0.0
        for size in range(1, len(values) + 1):
            for chosen in combinations(places, size):
                if place in chosen:
                    largest = max(largest, min(1.0, size * min(values[i] for i in chosen)))
        adjusted.append(largest)
    return adjusted


@pytest.mark.parametrize("seed", range(5))
def test_holm_is_the_closure_of_bonferroni(seed):
    draw = random.Random(seed)
    values = [draw.random() ** 3 for _ in range(6)]
    assert holm(values) == pytest.approx(slow_holm(values))
    assert all(after >= before for before, after in zip(values, holm(values), strict=True))


def test_holm_passes_over_what_was_not_tested():
    assert holm([None, 0.02, None, 0.01]) == [None, 0.02, None, 0.02]
    assert holm([]) == []
    assert holm([0.9, 0.8]) == [1.0, 1.0]


def test_ranks_are_scipys():
    draw = random.Random(2)
    blocks = [[draw.choice([70.0, 71.0, 72.5, 80.0]) for _ in range(6)] for _ in range(20)]
    slow = np.mean([stats.rankdata([-score for score in block]) for block in blocks], axis=0)
    assert average_ranks(blocks) == pytest.approx(slow.tolist())
    assert sum(average_ranks(blocks)) == pytest.approx(6 * 7 / 2)


def test_ranks_of_nothing_and_of_unequal_blocks():
    assert average_ranks([]) == []
    with pytest.raises(ValueError, match=r"as many scores in every block; got 1 and 2\. Leave out the blocks"):
        average_ranks([[1.0, 2.0], [1.0]])
