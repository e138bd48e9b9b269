"""The sentences below a table: what they say, and when they keep silent."""

from __future__ import annotations

import pytest
from made_cells import TWELVE, made_big, made_cell, made_classical, made_selections

from landbridge.benchmarks.results import Selection
from landbridge.benchmarks.table import summarise

VALIDATOR = "information-maximisation"
CHOSEN = f"chosen:{VALIDATOR}"


def the_note(table, start):
    (found,) = [note for note in table.notes if note.startswith(start)]
    return found


def silent(table, start):
    return not any(note.startswith(start) for note in table.notes)


def pairs(methods=("source-only", "dann"), tasks=("mnist->usps", "usps->mnist"), seeds=(0, 1), **changes):
    """Source-only scores 50, 52, ..., each further method 10 points more, give or take."""
    return [
        made_cell(method, task, seed, (0.4, 0.5 + 0.1 * place + 0.02 * seed * (1 + place)), **changes)
        for place, method in enumerate(methods)
        for task in tasks
        for seed in seeds
    ]


def test_what_last_is_and_over_which_seeds():
    assert the_note(summarise(pairs()), "last") == (
        "last: target accuracy (%) at the end of training, mean ± half its 95% interval (Student's t over seeds, and "
        "of seeds alone); seeds 0, 1. In brackets: gain over source-only, paired by seed."
    )
    assert "mean ± n/a for one seed; seed 4." in the_note(summarise(pairs(seeds=(4,))), "last")


def test_which_validator_chose_and_of_how_many():
    cells = pairs()
    assert the_note(summarise(cells, selections=made_selections(cells)), CHOSEN) == (
        f"{CHOSEN}: the checkpoint of 2 that this validator scores highest, without target labels."
    )
    more = [*cells, made_cell("dan", scores=(0.1, 0.2, 0.3))]
    assert "checkpoint of 2 to 3 that" in the_note(summarise(more, selections=made_selections(more)), CHOSEN)


def test_a_validator_without_scores_is_said():
    cells = pairs()
    assert the_note(summarise(cells), "No column") == (
        f"No column {CHOSEN}: for these cells none of their scores are stored here (the validator is n/a for the "
        "protocol, or outputs were not kept)."
    )
    other = summarise(cells, selections=made_selections(cells, validator="entropy"))
    assert the_note(other, f"No column {CHOSEN}").endswith("There are choices of entropy.")
    assert silent(summarise(cells, validator=None), "No column")


def test_a_block_without_scores_is_said():
    cells = [*pairs(), *pairs(network="resnet")]
    table = summarise(cells, selections=made_selections(cells[:8]))
    (note,) = [note for note in table.notes if "No column" in note]
    assert note.startswith(f"digits: protocol digits/small/inductive, network resnet, end-to-end: No column {CHOSEN}: ")


def test_blank_places_of_the_chosen_column_are_named():
    cells = pairs()
    chosen = made_selections(cells)
    del chosen[cells[-1].identity]
    table = summarise(cells, selections=chosen)
    assert the_note(table, "Blank in").endswith("outputs were not kept): dann on usps->mnist seed 1.")
    assert silent(summarise(cells, selections=made_selections(cells)), "Blank in")


def test_collapsed_choices_are_named():
    cells = pairs()
    chosen = made_selections(cells)
    chosen[cells[-1].identity][VALIDATOR] = Selection(100, 0.1, collapsed=True)
    assert the_note(summarise(cells, selections=chosen), "‡").endswith(": dann on usps->mnist seed 1.")
    assert silent(summarise(cells, selections=made_selections(cells)), "‡")


def test_single_checkpoints_are_explained():
    table = summarise([made_cell(scores=(0.5,)), made_cell("dan", scores=(0.4,))])
    assert "One checkpoint a cell: last, chosen and oracle are the same number" in the_note(table, "One checkpoint")
    for start in ("oracle", "No column", "chosen"):
        assert silent(table, start)
    assert silent(summarise(pairs()), "One checkpoint")


def test_which_test_gave_p():
    assert "(two-sided, a paired t-test over seeds, Holm over the rows)" in the_note(summarise(pairs()), "p: of the av")
    one_task = summarise(pairs(tasks=("mnist->usps",)))
    assert the_note(one_task, "p: of the gain (two-sided, a paired t-test over seeds, Holm over the rows)")
    big = summarise(made_big(("source-only", "dan")))
    assert "a sign-flip test over task x seed" in the_note(big, "p: of the average gain")
    assert "p tasks: would further tasks? (Wilcoxon" in the_note(big, "p: ")
    assert silent(summarise(pairs(("dann", "dan"))), "p: ")
    assert silent(summarise(pairs(tasks=("mnist->usps",), seeds=(0,))), "p: ")


def test_negative_transfer_is_listed():
    table = summarise(made_big(("source-only", "deepcoral")), tasks=TWELVE)
    note = the_note(table, "↓")
    assert "significantly below source-only (one-sided p < 0.05 after Holm" in note
    assert ": deepcoral on amazon->" in note
    assert note.count("deepcoral on") == 5
    assert note.endswith("more.")
    assert silent(summarise(made_big(("source-only", "mcc"))), "↓")


def test_what_cannot_be_tested_is_said():
    single = the_note(summarise(pairs(seeds=(0,))), "Gains on single tasks are not tested")
    assert single.endswith("it takes two seeds at least, and that they differ.")
    assert silent(summarise(pairs()), "Gains on single tasks")
    assert silent(summarise(pairs(("source-only", "train-on-target"), seeds=(0,))), "Gains on single tasks")


def test_an_average_that_cannot_show_a_loss_is_said():
    note = the_note(summarise(pairs(seeds=(0,))), "Negative transfer on the average cannot show here")
    assert "Holm over 1 row, the smallest one-sided p there can be is 0.25." in note
    assert silent(summarise(pairs()), "Negative transfer on the average")
    assert silent(summarise(made_big(("source-only", "dan"), seeds=(0,))), "Negative transfer on the average")


def test_ranks_over_fewer_places_are_said():
    cells = pairs()
    assert "averaged over task x seed" in the_note(summarise(cells), "rank: of the last iterate")
    assert silent(summarise(cells), "Ranks are")
    assert the_note(summarise(cells[:-1]), "Ranks are") == "Ranks are over the task x seed that all rows have."


def test_cost_is_explained():
    assert the_note(summarise(pairs()), "time") == "time: median of a cell, in seconds."
    assert "memory: the most that a cell held" in the_note(summarise(pairs(peak_memory=3.0)), "time")


def test_gains_of_classical_rows_are_explained():
    cells = [made_classical("raw", estimator="none"), made_classical("coral"), made_classical("svm", "svm")]
    table = summarise(cells)
    assert the_note(table, "Gains: ") == "Gains: coral over raw."
    assert "gain over the same classifier without adaptation, paired by seed" in the_note(table, "last")
    assert silent(table, "No gains")


def test_settings_that_were_searched_by_target_labels_are_said():
    grid = {"grid": {"reg": [1.0, 10.0]}}
    tuned = summarise(pairs(settings={"rules": {"tuned": "target"}, "adaptation": grid}))
    assert "dann" in the_note(tuned, "Settings were searched by target labels")
    assert silent(summarise(pairs(settings={"rules": {"tuned": "none"}, "adaptation": grid})), "Settings were")
    assert silent(summarise(pairs(settings={"rules": {"tuned": "target"}})), "Settings were")  # a row without a grid


@pytest.mark.parametrize("name", ["oracle", "Target rows scored", "time", "rank"])
def test_one_of_each(name):
    assert the_note(summarise(pairs()), name)
