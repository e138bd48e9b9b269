"""The files of a table."""

from __future__ import annotations

from made_cells import made_table

from landbridge.benchmarks import render
from landbridge.benchmarks.render import to_csv, to_latex, to_markdown, write_tables


def test_files_are_written_and_are_the_same_again(tmp_path):
    paths = write_tables(tmp_path / "new", made_table())
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == sorted(path.name for path in paths)
    assert [path.name for path in paths] == ["table.md", "table.tex", "table.csv", "results.png"]
    before = [path.read_bytes() for path in paths]
    assert before[0].decode() == to_markdown(made_table())
    assert before[1].decode() == to_latex(made_table())
    assert before[2].decode() == to_csv(made_table())
    write_tables(tmp_path / "new", made_table())
    assert [path.read_bytes() for path in paths] == before


def test_every_rendering_is_offered_here():
    assert {"print_table", "to_terminal", "to_markdown", "to_latex", "to_csv", "CSV_HEADER"} < set(render.__all__)
