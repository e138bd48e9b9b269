"""How a table looks: on the terminal, as Markdown, as LaTeX, as CSV in long form, and as files of all of them.

All show the same lines (:mod:`.render_lines`): a method's scores with its gain over source-only in brackets, below it
the published rows with the number of their footnote, train-on-target under a rule; the same for the checkpoints that a
label-free validator chooses, and the oracle apart from it all; and a summary with tests, ranks and costs.
"""

from __future__ import annotations

from pathlib import Path

from .blocks import Table
from .outputs import write_output
from .render_csv import CSV_HEADER, to_csv
from .render_latex import to_latex
from .render_markdown import to_markdown
from .render_terminal import print_table, to_terminal

__all__ = ["CSV_HEADER", "print_table", "to_csv", "to_latex", "to_markdown", "to_terminal", "write_tables"]


def write_tables(out: Path, table: Table) -> list[Path]:
    """Write ``table.md``, ``table.tex``, ``table.csv`` and ``results.png`` into ``out``, each whole or not at all.

    All are made before the first is written. Returns their paths.

    Raises:
        ValueError: if ``out`` is read-only or full, or no folder.
    """
    from .plots import to_png  # matplotlib takes a second to import, and the terminal does without it

    files = {
        "table.md": to_markdown(table).encode(),
        "table.tex": to_latex(table).encode(),
        "table.csv": to_csv(table).encode(),
        "results.png": to_png(table),
    }
    for name, data in files.items():
        write_output(out / name, data)
    return [out / name for name in files]
