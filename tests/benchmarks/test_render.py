"""How tables look: terminal, Markdown, LaTeX, CSV."""

from __future__ import annotations

import csv
import io

import pytest
from made_cells import PROTOCOL, made_cell, made_published
from rich.console import Console

from landbridge.benchmarks.render import print_table, to_csv, to_latex, to_markdown, write_tables
from landbridge.benchmarks.table import summarise

HEADER = "suite,protocol,network,track,task,method,column,mean,stderr,seeds,n,published,published_source"
TASKS = ("mnist->usps", "usps->mnist")


def made_table(methods=("source-only", "dann", "train-on-target"), tasks=TASKS, **settings):
    """Two seeds; source-only scores 50 and 52, the others 10 points more each, the oracle 5 more than last."""
    cells = [
        made_cell(method, task, seed, (score + 0.05, score))
        for place, method in enumerate(methods)
        for task in tasks
        for seed, score in enumerate((0.5 + 0.1 * place, 0.52 + 0.1 * place))
    ]
    published = (
        made_published(),
        made_published(
            protocol="digits/full/inductive",
            source="DANN_2016",
            selected="target labels",
            values={"mnist->usps": 73.85},
        ),
    )
    return summarise(cells, published=published, tasks=tasks, **settings)


def terminal(table, width):
    text = io.StringIO()
    print_table(table, Console(file=text, width=width, force_terminal=False))
    return text.getvalue()


def test_markdown():
    text = to_markdown(made_table())
    assert text.startswith("### digits: protocol digits/small/inductive, network lenet16, end-to-end\n\n**last: ")
    wanted = """
| method | mnist->usps | usps->mnist | average | seeds |
| :--- | ---: | ---: | ---: | ---: |
| SOURCE-ONLY | 51.0 ± 1.0 | 51.0 ± 1.0 | 51.0 ± 1.0 | 2 |
| DANN | 61.0 ± 1.0 (+10.0) | 61.0 ± 1.0 (+10.0) | 61.0 ± 1.0 (+10.0) | 2 |
| *published [1]* | *77.1* | *73.0* | *75.1* |  |
| *published [2]* | *73.9†* |  |  |  |
| *TRAIN-ON-TARGET* | *71.0 ± 1.0 (+20.0)* | *71.0 ± 1.0 (+20.0)* | *71.0 ± 1.0 (+20.0)* | 2 |

**oracle: best checkpoint by target labels, not attainable**

| method | mnist->usps | usps->mnist | average | seeds |
| :--- | ---: | ---: | ---: | ---: |
| SOURCE-ONLY | 56.0 ± 1.0 | 56.0 ± 1.0 | 56.0 ± 1.0 | 2 |
| DANN | 66.0 ± 1.0 | 66.0 ± 1.0 | 66.0 ± 1.0 | 2 |
| *TRAIN-ON-TARGET* | *76.0 ± 1.0* | *76.0 ± 1.0* | *76.0 ± 1.0* | 2 |

- [1] ADDA, CVPR 2017: digits/small/inductive, LeNet-like, selection not stated
- [2] DANN\\_2016: digits/full/inductive, LeNet-like, chosen by target labels
- last: """
    assert wanted in text


def test_markdown_and_latex_escape_labels():
    table = summarise([made_cell(label="a|b_c 5% & #1 [x]", scores=(0.5,))])
    assert r"| a\|b\_c 5% & #1 [x] | 50.0 ± n/a | 1 |" in to_markdown(table)
    assert r"a|b\_c 5\% \& \#1 {[}x] & 50.0 $\pm$ n/a & 1 \\" in to_latex(table)


def test_latex():
    text = to_latex(made_table())
    wanted = r"""\begin{tabular}{lrrrr}
\toprule
method & mnist$\to$usps & usps$\to$mnist & average & seeds \\
\midrule
\multicolumn{5}{l}{\emph{last: accuracy (\%) at the end of training, in brackets the gain over source-only}} \\
SOURCE-ONLY & 51.0 $\pm$ 1.0 & 51.0 $\pm$ 1.0 & 51.0 $\pm$ 1.0 & 2 \\
DANN & 61.0 $\pm$ 1.0 ($+10.0$) & 61.0 $\pm$ 1.0 ($+10.0$) & 61.0 $\pm$ 1.0 ($+10.0$) & 2 \\
\quad published {[}1] & 77.1 & 73.0 & 75.1 &  \\
\quad published {[}2] & 73.9$^\dagger$ &  &  &  \\
\cmidrule{1-5}
TRAIN-ON-TARGET & 71.0 $\pm$ 1.0 ($+20.0$) & 71.0 $\pm$ 1.0 ($+20.0$) & 71.0 $\pm$ 1.0 ($+20.0$) & 2 \\
\midrule
\multicolumn{5}{l}{\emph{oracle: best checkpoint by target labels, not attainable}} \\
SOURCE-ONLY & 56.0 $\pm$ 1.0 & 56.0 $\pm$ 1.0 & 56.0 $\pm$ 1.0 & 2 \\
DANN & 66.0 $\pm$ 1.0 & 66.0 $\pm$ 1.0 & 66.0 $\pm$ 1.0 & 2 \\
\cmidrule{1-5}
TRAIN-ON-TARGET & 76.0 $\pm$ 1.0 & 76.0 $\pm$ 1.0 & 76.0 $\pm$ 1.0 & 2 \\
\bottomrule
\end{tabular}
"""
    assert wanted in text
    assert r"DANN\_2016" in text
    assert text.count(r"\begin{") == text.count(r"\end{")
    assert text.count("$") % 2 == 0
    assert "±" not in text
    assert "†" not in text


def test_csv():
    text = to_csv(made_table())
    assert text.splitlines()[0] == HEADER
    rows = list(csv.DictReader(io.StringIO(text)))
    assert len(rows) == 3 * 2 * 3  # methods x columns x (tasks and average)
    found = {(row["method"], row["task"], row["column"]): row for row in rows}
    row = found["dann", "mnist->usps", "last"]
    assert [row[name] for name in HEADER.split(",")[:4]] == ["digits", PROTOCOL, "lenet16", "end-to-end"]
    assert [float(row[name]) for name in ("mean", "stderr", "seeds", "n")] == [61.0, 1.0, 2.0, 200.0]
    assert row["published"] == "77.1"
    assert row["published_source"] == (
        "ADDA, CVPR 2017: digits/small/inductive, LeNet-like, selection not stated; also 73.85: "
        "† DANN_2016: digits/full/inductive, LeNet-like, chosen by target labels"
    )
    assert found["dann", "average", "oracle"]["mean"] == "66.0000"
    assert found["dann", "average", "last"]["n"] == "400"
    assert found["dann", "average", "last"]["published"] == "75.05"
    assert found["source-only", "mnist->usps", "last"]["published"] == ""


def test_csv_prefers_the_same_protocol_and_marks_another():
    other = made_published(protocol="digits/full/inductive", values={"mnist->usps": 60.0, "usps->mnist": 61.0})
    same = made_published(values={"mnist->usps": 70.0})
    cells = [made_cell(task=task) for task in TASKS]
    rows = list(csv.DictReader(io.StringIO(to_csv(summarise(cells, published=[other, same])))))
    found = {row["task"]: row for row in rows if row["column"] == "last"}
    assert found["mnist->usps"]["published"] == "70"
    assert found["usps->mnist"]["published"] == "61"
    assert found["usps->mnist"]["published_source"].startswith("† ")
    assert found["average"]["stderr"] == ""
    assert found["average"]["published_source"].startswith("† ")


def test_missing_cells_are_blank():
    cells = [made_cell(task=task, seed=seed) for task in TASKS for seed in (0, 1)][:-1]
    cells += [made_cell("dan", "mnist->usps")]
    table = summarise(cells)
    assert "| DAN | 75.0 ± n/a |  |  | 1 |" in to_markdown(table)
    assert "| DANN | 75.0 ± 0.0 | 75.0 ± n/a |  | 1-2 |" in to_markdown(table)
    places = [(row["method"], row["task"]) for row in csv.DictReader(io.StringIO(to_csv(table)))]
    assert ("dan", "usps->mnist") not in places
    assert ("dann", "average") not in places


def test_a_loss_is_shown_as_one_and_nothing_as_plus_zero():
    cells = [made_cell("source-only", scores=(0.5,)), made_cell("dann", scores=(0.45,))]
    cells.append(made_cell("dan", scores=(0.4999,)))
    text = to_markdown(summarise(cells))
    assert "45.0 ± n/a (-5.0)" in text
    assert "50.0 ± n/a (+0.0)" in text


def test_terminal_shows_it_all():
    text = terminal(made_table(), 120)
    lines = text.splitlines()
    (dann,) = [line for line in lines if "DANN " in line and "(+10.0)" in line]
    assert dann.split() == ["DANN", *["61.0", "±", "1.0", "(+10.0)"] * 3, "2"]
    assert any(line.split() == ["published", "[1]", "77.1", "73.0", "75.1"] for line in lines)
    assert any(line.split() == ["published", "[2]", "73.9†"] for line in lines)
    rules = [i for i, line in enumerate(lines) if line.strip("─ ") == "" and "─" in line]
    assert len(rules) == 4  # under the header and over the bound, for last and oracle
    assert lines[rules[1] + 1].split()[0] == lines[rules[3] + 1].split()[0] == "TRAIN-ON-TARGET"
    assert "oracle: best checkpoint by target labels, not attainable" in lines
    assert text.index("61.0 ± 1.0") < text.index("oracle: best") < text.index("66.0 ± 1.0")


@pytest.mark.parametrize("width", [60, 100, 120, 150])
def test_five_tasks_fit_the_terminal(width):
    tasks = ("mnist->usps", "usps->mnist", "svhn->mnist", "mnist->mnist-m", "syn->svhn")
    table = made_table(("source-only", "source-only + adabn", "dann", "train-on-target"), tasks)
    text = terminal(table, width)
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    last = text[: text.index("oracle: best")]
    scores = [line for line in last.splitlines() if line.strip().startswith("DANN")]
    assert len(scores) == (3 if width == 60 else 1)  # at 60 the tasks are spread over three grids of two
    assert "".join(scores).replace(" ", "").count("71.0±1.0") == 6
    assert last.count("(+20.0)") == 6


def test_markup_in_names_is_text():
    table = summarise([made_cell(label="[bold]x[/bold]")])
    assert "[bold]x[/bold]" in terminal(table, 100)


def test_files_are_written_and_are_the_same_again(tmp_path):
    paths = write_tables(tmp_path / "new", made_table())
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == sorted(path.name for path in paths)
    assert [path.name for path in paths] == ["table.md", "table.tex", "table.csv", "results.png"]
    before = [path.read_bytes() for path in paths]
    assert before[0].decode() == to_markdown(made_table())
    assert before[2].decode() == to_csv(made_table())
    write_tables(tmp_path / "new", made_table())
    assert [path.read_bytes() for path in paths] == before
