"""The ranking of validators: its correlation against a slow transcription, its picks against a count by hand."""

from __future__ import annotations

import math
import shutil

import numpy as np
import pytest
from made_outputs import collapsed_outputs, folder_of, made_outputs, put_cell, sure_outputs
from scipy.stats import spearmanr

from landbridge.benchmarks.ranking import Ranking, rank, weighted_spearman
from landbridge.shared.validators import VALIDATORS


def slow_weighted_spearman(scores, accuracies):
    finite = [s for s in scores if math.isfinite(s)]
    scores = [s if math.isfinite(s) else min(finite) for s in scores]
    levels = sorted(set(scores))
    weights = [((levels.index(s) + 1) / len(levels)) ** 2 for s in scores]

    def ranks(values):
        found = []
        for v in values:
            below = sum(w for w, u in zip(weights, values, strict=True) if u < v)
            same = [w for w, u in zip(weights, values, strict=True) if u == v]
            found.append(below + (len(same) + 1) / 2 * sum(same) / len(same))
        return found

    def mean(values):
        return sum(w * v for w, v in zip(weights, values, strict=True)) / sum(weights)

    a, b = ranks(scores), ranks(accuracies)
    a, b = [x - mean(a) for x in a], [x - mean(b) for x in b]
    return mean([x * y for x, y in zip(a, b, strict=True)]) / math.sqrt(
        mean([x * x for x in a]) * mean([y * y for y in b])
    )


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("ties", [False, True])
def test_the_correlation_is_what_the_papers_code_computes(seed, ties):
    rng = np.random.default_rng(seed)
    scores, accuracies = rng.normal(size=30), rng.normal(size=30)
    if ties:
        scores, accuracies = scores.round(), accuracies.round()
        scores[:3] = math.nan, -math.inf, math.inf
    want = slow_weighted_spearman(scores.tolist(), accuracies.tolist())
    assert weighted_spearman(scores, accuracies) == pytest.approx(want, rel=1e-10)


def test_bad_checkpoints_on_top_cost_more_than_at_the_bottom():
    accuracies = np.arange(20.0)
    top, bottom = accuracies.copy(), accuracies.copy()
    top[[18, 2]] = top[[2, 18]]  # a bad one is believed good, and a good one bad
    bottom[[0, 1, 2, 3]] = bottom[[3, 2, 1, 0]]
    assert weighted_spearman(top, accuracies) < spearmanr(top, accuracies).statistic
    assert weighted_spearman(bottom, accuracies) > spearmanr(bottom, accuracies).statistic


def test_laws_of_the_correlation():
    rng = np.random.default_rng(0)
    scores, accuracies = rng.normal(size=25), rng.normal(size=25)
    order = rng.permutation(25)
    value = weighted_spearman(scores, accuracies)
    assert weighted_spearman(np.exp(scores), 3 * accuracies - 7) == pytest.approx(value, abs=1e-12)
    assert weighted_spearman(scores[order], accuracies[order]) == pytest.approx(value, abs=1e-12)
    assert weighted_spearman(scores, scores) == pytest.approx(1.0)
    assert weighted_spearman(scores, -scores) < -0.5


@pytest.mark.parametrize(
    ("scores", "accuracies"), [([1, 1], [1, 2]), ([1, 2], [3, 3]), ([math.nan, math.nan], [1, 2]), ([1], [1]), ([], [])]
)
def test_where_it_is_not_defined(scores, accuracies):
    assert math.isnan(weighted_spearman(scores, accuracies))


def test_lists_of_two_lengths_are_refused():
    with pytest.raises(ValueError, match=r"of one length; got shapes \(2,\) and \(3,\)"):
        weighted_spearman([1, 2], [1, 2, 3])


# --- rank. Information maximisation grows with the sureness of made outputs; the accuracies are made up beside it.


def row(ranking: Ranking, name="information-maximisation", block=0):
    return next(each for each in ranking.blocks[block].rows if each.validator == name)


IM = ["information-maximisation"]


def test_picks_within_cells_and_across_methods(tmp_path):
    # DANN scores high at step 20, and highest of all; DAN scores high at step 10
    put_cell(tmp_path, {10: (0.7, sure_outputs(0.2)), 20: (0.6, sure_outputs(1.0))}, method="dann")
    put_cell(tmp_path, {10: (0.5, sure_outputs(0.7)), 20: (0.4, sure_outputs(0.1))}, method="dan")
    ranking = rank(tmp_path, names=IM)
    (block,) = ranking.blocks
    average = row(ranking).average
    assert average.checkpoint == pytest.approx((55.0, 5.0, 2, 0, 0))
    assert average.model == pytest.approx((60.0, 10.0, 1, 0, 0))
    assert average.cells == 2
    assert (block.last, block.oracle, block.model_oracle) == pytest.approx((50.0, 60.0, 70.0))
    assert block.checkpoints == 4
    assert row(ranking).seconds > 0


def test_the_correlation_is_pooled_over_methods_and_seeds(tmp_path):
    table = {("dann", 0): (0.9, 0.5), ("dann", 1): (0.1, 0.7), ("dan", 0): (0.3, 0.2), ("dan", 1): (0.6, 0.8)}
    accuracies, scores = [], []
    for place, ((method, seed), (first, second)) in enumerate(table.items()):
        made = {10: (first, sure_outputs(0.1 + place / 10)), 20: (second, sure_outputs(1.0 - place / 10, seed=1))}
        put_cell(tmp_path, made, method=method, seed=seed)
        for accuracy, each in made.values():
            accuracies.append(accuracy)
            scores.append(VALIDATORS["information-maximisation"].score(each))
    found = row(rank(tmp_path, names=IM)).average.spearman
    assert found == pytest.approx(slow_weighted_spearman(scores, accuracies), abs=1e-9)


def test_tasks_are_averaged_and_weigh_the_same(tmp_path):
    for seed in (0, 1, 2):
        put_cell(tmp_path, {10: (0.2, sure_outputs(0.1)), 20: (0.8, sure_outputs(1.0))}, task="a->b", seed=seed)
    put_cell(tmp_path, {10: (0.9, sure_outputs(0.1)), 20: (0.1, sure_outputs(1.0))}, task="b->a")
    ranking = rank(tmp_path, names=IM)
    figures = row(ranking).figures
    assert list(figures) == ["a->b", "b->a", "average"]
    assert figures["a->b"].spearman == pytest.approx(1.0)
    assert figures["average"].spearman == pytest.approx((1.0 + figures["b->a"].spearman) / 2)
    assert figures["average"].checkpoint == pytest.approx(((80 + 10) / 2, (0 + 80) / 2, 4, 0, 0))
    assert figures["average"].model.picks == 4
    assert ranking.blocks[0].last == pytest.approx(45.0)


def test_collapses_are_passed_over_and_counted(tmp_path):
    put_cell(tmp_path, {10: (0.6, sure_outputs(0.5)), 20: (0.1, collapsed_outputs(0))}, method="dann")
    put_cell(tmp_path, {10: (0.1, collapsed_outputs(1)), 20: (0.1, collapsed_outputs(2))}, method="dan")
    average = row(rank(tmp_path, names=["entropy"]), "entropy").average
    assert average.checkpoint == pytest.approx((35.0, 0.0, 2, 1, 1))
    assert average.model == pytest.approx((60.0, 0.0, 1, 0, 1))


def test_equal_scores_of_methods_take_the_latest_step_then_the_first_name(tmp_path):
    same = sure_outputs(0.9)
    put_cell(tmp_path, {10: (0.1, same), 20: (0.2, same)}, method="mcd")
    put_cell(tmp_path, {10: (0.3, same), 20: (0.4, same)}, method="dann")
    put_cell(tmp_path, {10: (0.9, same), 15: (0.8, same)}, method="adabn")
    assert row(rank(tmp_path, names=IM)).average.model.accuracy == pytest.approx(40.0)


def test_blocks_stay_apart(tmp_path):
    put_cell(tmp_path, {10: (0.2, sure_outputs(0.1)), 20: (0.8, sure_outputs(1.0))}, network="lenet16")
    put_cell(tmp_path, {10: (0.7, sure_outputs(0.1)), 20: (0.1, sure_outputs(1.0))}, network="resnet50", track="frozen")
    ranking = rank(tmp_path, names=IM)
    assert [block.group[2:] for block in ranking.blocks] == [("lenet16", "end-to-end"), ("resnet50", "frozen")]
    assert [row(ranking, block=i).average.checkpoint.accuracy for i in (0, 1)] == pytest.approx([80.0, 10.0])
    assert ranking.blocks[1].title == "digits: protocol digits/small/inductive, network resnet50, frozen"


def test_what_sees_target_labels_takes_no_part(tmp_path):
    put_cell(tmp_path, {10: (0.5, sure_outputs(0.4))}, method="dann")
    put_cell(tmp_path, {10: (0.99, sure_outputs(1.0))}, method="train-on-target")
    put_cell(
        tmp_path, {10: (0.98, sure_outputs(1.0))}, method="bound", settings={"adaptation": {"trains_on": "target"}}
    )
    average = row(rank(tmp_path, names=IM)).average
    assert average.model.accuracy == pytest.approx(50.0)
    assert average.cells == 1


def test_all_by_default_the_best_first_and_the_expensive_on_request(tmp_path):
    for seed in (0, 1):
        steps = {10 * i: (0.2 + 0.1 * i, sure_outputs(0.15 * i, seed)) for i in range(1, 6)}
        put_cell(tmp_path, steps, seed=seed)
    ranking = rank(tmp_path)
    assert {each.validator for each in ranking.blocks[0].rows} == set(VALIDATORS)
    merits = [each.average.spearman for each in ranking.blocks[0].rows]
    assert merits == sorted(merits, reverse=True)
    assert {each.validator for each in rank(tmp_path, expensive=True).blocks[0].rows} == {*VALIDATORS, "circular"}
    assert len(list(tmp_path.rglob("validators.json"))) == 2


def test_no_holdout_is_said_and_comes_last(tmp_path):
    put_cell(tmp_path, {10: (0.5, made_outputs(0, holdout=False)), 20: (0.6, made_outputs(1, holdout=False))})
    rows = rank(tmp_path, names=["source-risk", "entropy"]).blocks[0].rows
    assert [each.validator for each in rows] == ["entropy", "source-risk"]
    assert rows[1].average is None
    assert rows[1].why == "the protocol holds no source rows out"


def test_a_diverged_checkpoint_counts_as_the_lowest(tmp_path):
    diverged = sure_outputs(0.9)
    diverged.target.logits[:] = np.nan
    put_cell(tmp_path, {10: (0.3, sure_outputs(0.2)), 20: (0.6, sure_outputs(1.0)), 30: (0.1, diverged)})
    average = row(rank(tmp_path, names=IM)).average
    assert average.checkpoint.accuracy == pytest.approx(60.0)
    scores = [VALIDATORS[IM[0]].score(sure_outputs(sure)) for sure in (0.2, 1.0)]
    assert average.spearman == pytest.approx(slow_weighted_spearman([*scores, math.nan], [3, 6, 1]), abs=1e-3)


def test_cells_without_outputs_are_counted_and_broken_ones_named(tmp_path):
    put_cell(tmp_path, {10: (0.5, sure_outputs(0.4))}, seed=0)
    gone = put_cell(tmp_path, {10: (0.5, sure_outputs(0.4))}, seed=1)
    shutil.rmtree(folder_of(tmp_path, gone) / "outputs")
    broken = put_cell(tmp_path, {10: (0.5, sure_outputs(0.4))}, seed=2)
    (folder_of(tmp_path, broken) / "outputs" / "step-000010.npz").write_bytes(b"PK")
    seen = []
    notes = " ".join(rank(tmp_path, names=IM, progress=lambda done, of: seen.append((done, of))).notes)
    assert "2 cells left out" in notes
    assert "step-000010.npz cannot be read" in notes
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_scores_on_fewer_cells_are_marked(tmp_path):
    put_cell(tmp_path, {10: (0.5, sure_outputs(0.4))}, seed=0)
    kept = put_cell(tmp_path, {10: (0.5, sure_outputs(0.4))}, seed=1)
    rank(tmp_path, names=IM)
    shutil.rmtree(folder_of(tmp_path, kept) / "outputs")
    notes = " ".join(rank(tmp_path, names=[*IM, "entropy"]).notes)
    assert "judged on fewer cells, not comparable: entropy." in notes


def test_nothing_to_rank_is_an_error(tmp_path):
    with pytest.raises(ValueError, match=r"has stored outputs\. Run the benchmark with --keep-outputs all"):
        rank(tmp_path)
    with pytest.raises(ValueError, match="unknown validator 'entropi'; did you mean 'entropy'"):
        rank(tmp_path, names=["entropi"])
