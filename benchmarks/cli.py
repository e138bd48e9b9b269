"""The command line: bench, table, methods, data."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

if TYPE_CHECKING:
    from .results import Cell
    from .runner import Failure, Plan
    from .suite import CellSettings, Suite

__all__ = ["app", "run"]

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Domain adaptation: benchmark tables that can be trusted.",
)
errors = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)

DataOption = Annotated[
    Path | None,
    typer.Option("--data", metavar="DIR", envvar="LANDBRIDGE_DATA", help="Folder of data sets that are not embedded."),
]


def run() -> None:
    """Run the command line: a user's mistake is a sentence and exit code 2, never a traceback."""
    try:
        app(standalone_mode=True)
    except KeyboardInterrupt:
        sys.exit(130)
    except (ValueError, TypeError, OSError, ImportError) as error:
        errors.print(f"landbridge: {error}")
        if os.environ.get("LANDBRIDGE_TRACEBACK"):
            raise
        sys.exit(2)


@app.command()
def bench(
    suite: Annotated[str, typer.Argument(help="A suite's name, or a .toml file of yours.")] = "optdigits",
    methods: Annotated[str | None, typer.Option(help="Rows, by comma; the suite's own if left out.")] = None,
    tasks: Annotated[
        str | None, typer.Option(help="Columns, by comma: 'a->b' in quotes, or a-to-b. All if left out.")
    ] = None,
    seeds: Annotated[int | None, typer.Option(min=1, help="How many; the suite's own if left out.")] = None,
    protocol: Annotated[str | None, typer.Option(help="Which samples are used; the suite's own if left out.")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Training steps, instead of the protocol's.")] = None,
    data: DataOption = None,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Where results go; runs/SUITE if left out.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:1.")] = "auto",
    jobs: Annotated[
        int | None,
        typer.Option(min=1, help="Cells side by side. If left out: one a core on a CPU, one on a GPU."),
    ] = None,
    keep_outputs: Annotated[
        str,
        typer.Option(
            help="all: logits and features at the checkpoints (5 to 10 MB a cell of the shipped suites); or scores."
        ),
    ] = "all",
    fresh: Annotated[bool, typer.Option("--fresh", help="Run cells again that are there already.")] = False,
) -> None:
    """Fill a suite's table: run the cells that are missing, then write and print it.

    Interrupted, it goes on where it stopped when run again, inside a cell too.
    """
    from ..shared.fit import resolve_device
    from ..shared.names import nearest
    from . import runner
    from .suite import read_suite

    if keep_outputs not in ("all", "scores"):
        raise ValueError("--keep-outputs: " + nearest("word", keep_outputs, ["all", "scores"]))
    chosen = read_suite(suite)
    protocol = protocol or chosen.protocol
    if protocol not in chosen.protocols:
        raise ValueError("--protocol: " + nearest("protocol", protocol, chosen.protocols))
    out = out or Path("runs") / chosen.name
    where = resolve_device(device)
    columns, rows = chosen.choose("tasks", tasks, protocol), chosen.choose("methods", methods, protocol)
    with runner.exclusive(out):
        found = runner.plan(
            chosen,
            protocol=protocol,
            tasks=columns,
            methods=rows,
            seeds=seeds or chosen.seeds,
            out=out,
            data=data,
            device=device,
            keep=keep_outputs,
            fresh=fresh,
            steps=steps,
        )
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        processes = max(1, min(jobs or (cores if where.type == "cpu" else 1), len(found.jobs)))
        failures = _run_grid(found, processes, max(1, cores // processes), out)
    if found.done or len(failures) < len(found.jobs):
        _make_table(out, chosen, found.identities)
    if failures:
        for failure in failures:
            s = failure.settings
            errors.print(f"failed: {s.task} {s.method} seed {s.seed}: {failure.message}")
        errors.print(
            f"{len(failures)} of {len(found.jobs)} cells failed; tracebacks are in {out / 'failures.log'}. "
            "Run the same command again (without --fresh, if you gave it) to try only these."
        )
        raise typer.Exit(1)


def _run_grid(found: Plan, processes: int, threads: int, out: Path) -> list[Failure]:
    from . import runner

    for sentence in found.changed[:6]:
        errors.print(f"settings changed, runs again: {sentence}")
    if len(found.changed) > 6:
        errors.print(f"... and {len(found.changed) - 6} more cells with changed settings")
    total = len(found.jobs)
    already = f"; {found.done} are there already" if found.done else ""
    begun = f"; {found.resumed} go on where they stopped" if found.resumed else ""
    errors.print(f"{total} cells to run, {processes} at a time, {threads} thread(s) each{already}{begun}")
    if not total:
        return []
    started = time.monotonic()
    ended = 0

    def report(settings: CellSettings, cell: Cell | None, message: str | None) -> None:
        nonlocal ended
        ended += 1
        passed = time.monotonic() - started
        left = passed / ended * (total - ended)
        what = f"{settings.task}  {settings.method}  seed {settings.seed}"
        how = f"last {100 * cell.last:5.1f}  {cell.seconds:5.1f} s" if cell is not None else f"FAILED: {message}"
        errors.print(f"[{ended}/{total}] {what}  {how}  (about {_duration(left)} left)")

    try:
        return runner.run(found.jobs, processes=processes, threads=threads, ended=report)
    except KeyboardInterrupt:
        errors.print(
            f"stopped: {ended} of {total} cells are done and kept in {out}. Run the same command again to go on "
            "(without --fresh, if you gave it), inside the cells that had begun too."
        )
        raise typer.Exit(130) from None


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def _make_table(out: Path, suite: Suite | None = None, identities: Collection[str] = ()) -> None:
    from .render import print_table, write_tables
    from .results import asked_for, read_folder
    from .suite import shipped
    from .table import summarise

    cells, problems = read_folder(out)
    if not cells:
        said = f"{out} holds no finished cell. Run 'landbridge bench SUITE --out {out}' first."
        raise ValueError(" ".join([said, *problems]))
    known = [suite] if suite is not None else []
    known += shipped(sorted({cell.suite for cell in cells} - {s.name for s in known}))
    table = summarise(
        asked_for(cells, identities),
        published=[row for s in known for row in s.published],
        order=[method for s in known for method in s.methods],
        tasks=[task for s in known for task in s.tasks],
        warnings=problems,
    )
    print_table(table)
    written = write_tables(out, table)
    errors.print("wrote " + ", ".join(str(path) for path in written))


@app.command()
def table(folder: Annotated[Path, typer.Argument(metavar="DIR", help="The --out folder of a bench.")]) -> None:
    """Make the table of a folder's cells anew: print it, and write table.md, .tex, .csv and results.png."""
    if not folder.is_dir():
        raise ValueError(f"there is no folder {folder}. Pass the --out folder of a bench.")
    _make_table(folder)


@app.command()
def methods() -> None:
    """List the methods: what each needs, and the paper it comes from."""
    from rich.table import Table

    from ..methods import METHODS

    grid = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("method", "class", "needs", "what it does"):
        grid.add_column(title, overflow="fold")
    for name, kind in METHODS.items():
        about = (kind.__doc__ or "").strip().splitlines()[0]
        grid.add_row(
            name, f"{kind.__module__.split('.')[1]}.{kind.__name__}", " ".join(sorted(kind.needs)) or "-", about
        )
    Console().print(grid)


@app.command()
def data(
    suite: Annotated[str, typer.Argument(help="A suite's name, or a .toml file of yours.")],
    data: DataOption = None,
    download: Annotated[bool, typer.Option("--download", help="Fetch what has a stable address.")] = False,
) -> None:
    """Tell which data of a suite is there, what is missing, and how to get it."""
    from . import datasets
    from .suite import read_suite

    chosen = read_suite(suite)
    if download:
        datasets.get(chosen.dataset, list(chosen.tasks), data, progress=True)
    found = datasets.status(chosen.dataset, list(chosen.tasks), data)
    out = Console(highlight=False)
    wide = max(len(each.name) for each in found)
    for each in found:
        there = "there  " if each.present else "MISSING"
        out.print(f"{each.name:{wide}}  {there}  {each.size}  ({each.where})", soft_wrap=True, markup=False)
        if not each.present:
            out.print(f"{'':{wide}}  {each.how}", soft_wrap=True, markup=False)
    if not all(each.present for each in found):
        raise typer.Exit(1)
