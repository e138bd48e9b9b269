"""A table as Markdown."""

from __future__ import annotations

from made_cells import TWELVE, made_big, made_cell, made_table

from landbridge.benchmarks.render_markdown import to_markdown
from landbridge.benchmarks.table import summarise


def test_markdown():
    text = to_markdown(made_table(chosen=True))
    assert text.startswith("### digits: protocol digits/small/inductive, network lenet16, end-to-end\n\n**last: ")
    wanted = """
| method | mnist->usps | usps->mnist | average | seeds |
| :--- | ---: | ---: | ---: | ---: |
| SOURCE-ONLY | 51.0 ± 1.0 | 51.0 ± 1.0 | 51.0 ± 1.0 | 3 |
| DANN | 61.0 ± 1.0 (+10.0) | 61.0 ± 1.0 (+10.0) | 61.0 ± 1.0 (+10.0) | 3 |
| *published [1]* | *77.1* | *73.0* | *75.1* |  |
| *published [2]* | *73.9†* |  |  |  |
| *TRAIN-ON-TARGET* | *71.0 ± 1.0 (+20.0)* | *71.0 ± 1.0 (+20.0)* | *71.0 ± 1.0 (+20.0)* | 3 |

**chosen:information-maximisation: checkpoint chosen by this validator, without target labels**

| method | mnist->usps | usps->mnist | average | seeds |
| :--- | ---: | ---: | ---: | ---: |
| SOURCE-ONLY | 49.0 ± 1.0 | 49.0 ± 1.0 | 49.0 ± 1.0 | 3 |
| DANN | 59.0 ± 1.0 | 59.0 ± 1.0 | 59.0 ± 1.0 | 3 |
| *TRAIN-ON-TARGET* | *69.0 ± 1.0* | *69.0 ± 1.0* | *69.0 ± 1.0* | 3 |

**oracle: best checkpoint by target labels, not attainable**

| method | mnist->usps | usps->mnist | average | seeds |
| :--- | ---: | ---: | ---: | ---: |
| SOURCE-ONLY | 56.0 ± 1.0 | 56.0 ± 1.0 | 56.0 ± 1.0 | 3 |
| DANN | 66.0 ± 1.0 | 66.0 ± 1.0 | 66.0 ± 1.0 | 3 |
| *TRAIN-ON-TARGET* | *76.0 ± 1.0* | *76.0 ± 1.0* | *76.0 ± 1.0* | 3 |

**in short, on the average of 2 tasks: accuracy (%), test against source-only, rank, cost**

| method | last | chosen | oracle | gain | p | rank | time |
| :--- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |
| SOURCE-ONLY | 51.0 | 49.0 | 56.0 |  |  | 2.0 | 84.2 s |
| DANN | 61.0 | 59.0 | 66.0 | +10.0 |  | 1.0 | 84.2 s |
| *TRAIN-ON-TARGET* | *71.0* | *69.0* | *76.0* | *+20.0* |  |  | *84.2 s* |

- [1] ADDA, CVPR 2017: digits/small/inductive, LeNet-like, selection not stated
- [2] DANN\\_2016: digits/full/inductive, LeNet-like, chosen by target labels
- last: """
    assert wanted in text


def test_names_are_escaped():
    table = summarise([made_cell(label="a|b_c 5% & #1 [x]", scores=(0.5,))])
    assert r"| a\|b\_c 5% & #1 [x] | 50.0 ± n/a | 1 |" in to_markdown(table)


def test_missing_cells_are_blank():
    cells = [made_cell(task=task, seed=seed) for task in TWELVE[:2] for seed in (0, 1)][:-1]
    cells += [made_cell("dan", TWELVE[0])]
    text = to_markdown(summarise(cells))
    assert "| DAN | 75.0 ± n/a |  |  | 1 |" in text
    assert "| DANN | 75.0 ± 0.0 | 75.0 ± n/a |  | 1-2 |" in text


def test_twelve_tasks_are_spread_over_two_grids():
    text = to_markdown(summarise(made_big(("source-only", "deepcoral")), tasks=TWELVE))
    headers = [line for line in text.splitlines() if line.startswith("| method")]
    assert [header.count("->") for header in headers] == [7, 5, 7, 5, 0]  # last, oracle, and the summary in one
    assert max(len(line) for line in text.splitlines() if line.startswith("| DEEP")) < 170
    assert "(-3.1↓)" in text
    assert r"| \<0.001 |" in text


def test_every_row_has_the_cells_of_its_header():
    lines = to_markdown(made_table(chosen=True)).splitlines()
    width = 0
    for line in lines:
        if line.startswith("| method"):
            width = line.count("|")
        if line.startswith("|"):
            assert line.count("|") == width
