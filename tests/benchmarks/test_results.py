"""Cells as files: written whole, read back equal, and no broken file stops a table."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from made_cells import made_cell
from pydantic import ValidationError

from landbridge.benchmarks import results
from landbridge.benchmarks.results import asked_for, cell_folder, newest, read_cells, read_folder, write_result

WRITTEN = """
{"schema": 1, "suite": "digits", "protocol": "digits/small/inductive", "network": "lenet16", "track": "end-to-end",
 "task": "mnist->usps", "method": "dann", "label": "DANN", "seed": 2, "identity": "%s",
 "settings": {"steps": 1500, "optimiser": {"lr": 0.01}}, "n": 2007,
 "checkpoints": [{"step": 150, "target_eval": 0.713, "source_holdout": 0.981},
                 {"step": 300, "target_eval": 0.841, "source_holdout": 0.985},
                 {"step": 450, "target_eval": 0.832, "source_holdout": 0.986}],
 "seconds": 84.2, "peak_memory": 512.5, "finished": "2026-11-20T10:00:00+00:00",
 "environment": {"landbridge": "0.1.0", "torch": "2.15.0", "python": "3.11.7", "threads": 1, "device": "cpu"}}
""" % ("ab" * 32)


def put(out: Path, cell: results.Cell) -> Path:
    return write_result(
        cell_folder(out, task=cell.task, method=cell.method, seed=cell.seed, identity=cell.identity), cell
    )


def put_text(out: Path, text: str, seed: int = 0) -> None:
    folder = out / "cells" / "mnist-to-usps" / "dann" / f"seed-{seed}-00000000"
    folder.mkdir(parents=True)
    (folder / "result.json").write_text(text)


def test_a_written_file_has_last_and_oracle(tmp_path):
    put_text(tmp_path, WRITTEN)
    (cell,) = read_cells(tmp_path)
    assert (cell.task, cell.method, cell.seed, cell.n) == ("mnist->usps", "dann", 2, 2007)
    assert cell.last == 0.832
    assert cell.oracle == 0.841
    assert cell.settings["optimiser"] == {"lr": 0.01}
    assert cell.peak_memory == 512.5
    assert cell.finished == datetime(2026, 11, 20, 10, tzinfo=timezone.utc)


def test_writing_keeps_every_field(tmp_path):
    put_text(tmp_path, WRITTEN)
    (cell,) = read_cells(tmp_path)
    assert json.loads(put(tmp_path / "again", cell).read_text()) == json.loads(WRITTEN)


def test_the_folder_of_a_cell(tmp_path):
    path = put(tmp_path, made_cell("dann", "mnist->usps", 3, identity="0123456789" + "a" * 54))
    assert path.relative_to(tmp_path).as_posix() == "cells/mnist-to-usps/dann/seed-3-01234567/result.json"
    assert os.listdir(path.parent) == ["result.json"]


def test_unfinished_folders_are_passed_over(tmp_path):
    path = put(tmp_path, made_cell(seed=0))
    path.parent.rename(path.parent.with_name(".seed-0-work"))
    (tmp_path / "cells" / ".work" / "dann" / "seed-0-x").mkdir(parents=True)
    (tmp_path / "cells" / "a-file").write_text("")
    assert read_folder(tmp_path) == ([], [])


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"schema": 1, "sui', "no valid JSON"),
        ("", "no valid JSON"),
        ("[1, 2]", "no result of a cell"),
        ('{"loss": 3}', "no result of a cell"),
        (WRITTEN.replace('"schema": 1', '"schema": 2'), "result schema 2 and this version reads 1. Re-run"),
        (WRITTEN.replace("0.832", "1.5"), "'checkpoints.2.target_eval'"),
        (WRITTEN.replace("0.832", "NaN"), "'checkpoints.2.target_eval'"),
        (WRITTEN.replace('"step": 300', '"step": 100'), "growing steps; got [150, 100, 450]"),
        (WRITTEN.replace('"n": 2007,', ""), "'n'"),
        (WRITTEN.replace('"n": 2007', '"n": 2007, "N": 3'), "'N'"),
        (WRITTEN.replace("+00:00", ""), "'finished'"),
        (WRITTEN.replace("abab", "xyxy"), "'identity'"),
    ],
)
def test_a_broken_file_is_named_and_the_others_read(tmp_path, text, says):
    put_text(tmp_path, text, seed=7)
    put(tmp_path, made_cell(seed=1))
    cells, problems = read_folder(tmp_path)
    assert [cell.seed for cell in cells] == [1]
    assert len(problems) == 1
    assert problems[0].startswith("cells/mnist-to-usps/dann/seed-7-00000000/result.json is left out: ")
    assert says in problems[0]
    with pytest.warns(UserWarning, match="seed-7-00000000"):
        assert [cell.seed for cell in read_cells(tmp_path)] == [1]


def test_no_utf8_and_no_file_are_named(tmp_path):
    put_text(tmp_path, "", seed=0)
    (tmp_path / "cells/mnist-to-usps/dann/seed-0-00000000/result.json").write_bytes(b"\xff\xfe")
    (tmp_path / "cells/mnist-to-usps/dann/seed-1-00000000").mkdir()
    cells, problems = read_folder(tmp_path)
    assert not cells
    assert "no valid JSON" in problems[0]
    assert "cannot be read" in problems[1]


def test_cells_refuse_what_they_do_not_know():
    with pytest.raises(ValidationError, match="colour"):
        made_cell(colour="red")
    with pytest.raises(ValidationError, match="checkpoints"):
        made_cell(checkpoints=[])
    with pytest.raises(ValidationError, match="frozen"):
        made_cell().seed = 3


def test_the_newest_of_one_place_wins():
    late = made_cell(finished=datetime(2026, 11, 21, tzinfo=timezone.utc), settings={"steps": 20})
    early = made_cell(settings={"steps": 10})
    # an earlier moment though its clock, of another zone, shows a later hour
    zone = timezone(timedelta(hours=9))
    earlier = made_cell(finished=datetime(2026, 11, 21, 8, tzinfo=zone), settings={"steps": 30})
    other_seed, other_track = made_cell(seed=1), made_cell(track="features")
    kept, older = newest([early, late, other_seed, earlier, other_track])
    assert older == 2
    assert len(kept) == 3
    assert late in kept
    assert newest([earlier, late, other_seed, other_track, early]) == (kept, older)


def test_the_settings_asked_for_win_over_what_finished_later():
    asked = made_cell(settings={"steps": 600}, identity="a" * 64)
    later = made_cell(settings={"steps": 10}, identity="b" * 64, finished=datetime(2027, 1, 1, tzinfo=timezone.utc))
    other_network = made_cell(network="lenet28", identity="c" * 64)
    elsewhere = made_cell(seed=1, identity="d" * 64)
    assert asked_for([asked, later, other_network, elsewhere], ["a" * 64]) == [asked, elsewhere]
    assert asked_for([asked, later], []) == [asked, later]


def test_tables_need_no_torch():
    code = (
        "import sys; from landbridge.benchmarks import results, published, table, render, plots;"
        "bad = {'torch', 'matplotlib', 'sklearn', 'ot'} & set(sys.modules); assert not bad, bad"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_cell_of_before_peak_memory_was_measured_is_read(tmp_path):
    put_text(tmp_path, WRITTEN.replace('"peak_memory": 512.5, ', ""))
    (cell,) = read_cells(tmp_path)
    assert cell.peak_memory is None
