"""A table as LaTeX."""

from __future__ import annotations

import re

from made_cells import TWELVE, made_big, made_cell, made_selections, made_table

from landbridge.benchmarks.render_latex import to_latex
from landbridge.benchmarks.results import Selection
from landbridge.benchmarks.table import summarise


def check(text):
    """Nothing that LaTeX would stumble over, and as many ampersands in each line as its tabular has columns."""
    assert text.count(r"\begin{") == text.count(r"\end{")
    assert text.count("$") % 2 == 0
    assert not set("±†‡↓") & set(text)
    for columns, inside in re.findall(r"\\begin\{tabular\}\{(l+r*)\}\n(.*?)\\end\{tabular\}", text, re.DOTALL):
        rows = [line for line in inside.splitlines() if line.endswith(r"\\") and "multicolumn" not in line]
        assert rows
        assert {line.replace(r"\&", "").count("&") for line in rows} == {len(columns) - 1}
        assert set(re.findall(r"multicolumn\{(\d+)\}", inside)) == {str(len(columns))}


def test_latex():
    text = to_latex(made_table(chosen=True))
    wanted = r"""\begin{tabular}{lrrrr}
\toprule
method & mnist$\to$usps & usps$\to$mnist & average & seeds \\
\midrule
\multicolumn{5}{l}{\emph{last: accuracy (\%) at the end of training $\pm$ half its 95\% interval over seeds, in brackets the gain over source-only}} \\
SOURCE-ONLY & 51.0 $\pm$ 1.0 & 51.0 $\pm$ 1.0 & 51.0 $\pm$ 1.0 & 3 \\
DANN & 61.0 $\pm$ 1.0 ($+10.0$) & 61.0 $\pm$ 1.0 ($+10.0$) & 61.0 $\pm$ 1.0 ($+10.0$) & 3 \\
\quad published {[}1] & 77.1 & 73.0 & 75.1 &  \\
\quad published {[}2] & 73.9$^\dagger$ &  &  &  \\
\cmidrule{1-5}
TRAIN-ON-TARGET & 71.0 $\pm$ 1.0 ($+20.0$) & 71.0 $\pm$ 1.0 ($+20.0$) & 71.0 $\pm$ 1.0 ($+20.0$) & 3 \\
\midrule
\multicolumn{5}{l}{\emph{chosen:information-maximisation: checkpoint chosen by this validator, without target labels}} \\
SOURCE-ONLY & 49.0 $\pm$ 1.0 & 49.0 $\pm$ 1.0 & 49.0 $\pm$ 1.0 & 3 \\
DANN & 59.0 $\pm$ 1.0 & 59.0 $\pm$ 1.0 & 59.0 $\pm$ 1.0 & 3 \\
\cmidrule{1-5}
TRAIN-ON-TARGET & 69.0 $\pm$ 1.0 & 69.0 $\pm$ 1.0 & 69.0 $\pm$ 1.0 & 3 \\
\midrule
\multicolumn{5}{l}{\emph{oracle: best checkpoint by target labels, not attainable}} \\
SOURCE-ONLY & 56.0 $\pm$ 1.0 & 56.0 $\pm$ 1.0 & 56.0 $\pm$ 1.0 & 3 \\
DANN & 66.0 $\pm$ 1.0 & 66.0 $\pm$ 1.0 & 66.0 $\pm$ 1.0 & 3 \\
\cmidrule{1-5}
TRAIN-ON-TARGET & 76.0 $\pm$ 1.0 & 76.0 $\pm$ 1.0 & 76.0 $\pm$ 1.0 & 3 \\
\bottomrule
\end{tabular}
\par\medskip
\begin{tabular}{lrrrrrrr}
\toprule
method & last & chosen & oracle & gain & p & rank & time \\
\midrule
\multicolumn{8}{l}{\emph{in short, on the average of 2 tasks: accuracy (\%), test against source-only, rank, cost}} \\
SOURCE-ONLY & 51.0 & 49.0 & 56.0 &  &  & 2.0 & 84.2 s \\
DANN & 61.0 & 59.0 & 66.0 & $+10.0$ &  & 1.0 & 84.2 s \\
\cmidrule{1-8}
TRAIN-ON-TARGET & 71.0 & 69.0 & 76.0 & $+20.0$ &  &  & 84.2 s \\
\bottomrule
\end{tabular}
"""  # noqa: E501
    assert wanted in text
    assert r"DANN\_2016" in text
    check(text)


def test_names_are_escaped():
    table = summarise([made_cell(label="a|b_c 5% & #1 [x]", scores=(0.5,))])
    assert r"a|b\_c 5\% \& \#1 {[}x] & 50.0 $\pm$ n/a & 1 \\" in to_latex(table)
    check(to_latex(table))


def test_twelve_tasks_take_two_tables():
    text = to_latex(summarise(made_big(("source-only", "deepcoral")), tasks=TWELVE))
    check(text)
    assert text.count(r"\begin{table}") == 2
    assert "Part 1 of 2." in text
    assert text.index("Part 2 of 2.") < text.index("in short, on the average of 12 tasks")
    assert text.count(r"amazon$\to$dslr &") == text.count(r"webcam$\to$dslr &") == 1
    assert text.count("Target rows scored") == 1
    assert r"($-3.1\downarrow$)" in text
    assert r"\textless{}0.001" in text


def test_collapsed_choices():
    cells = [made_cell(), made_cell("dan")]
    chosen = made_selections(cells)
    chosen[cells[0].identity]["information-maximisation"] = Selection(100, 0.1, collapsed=True)
    text = to_latex(summarise(cells, selections=chosen))
    assert r"DANN & 10.0 $\pm$ n/a$^\ddagger$ & 1 \\" in text
    check(text)
