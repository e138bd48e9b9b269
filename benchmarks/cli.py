"""The command line: bench, table, validators, report, diagnose, methods, data."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from .cli_data import DataOption, data_app
from .cli_diagnose import diagnose

if TYPE_CHECKING:
    from .results import Cell
    from .runner import Failure, Plan
    from .settings import CellSettings
    from .suite import Suite
    from .table import Table
    from .threads import Threads

__all__ = ["app", "run"]

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Domain adaptation: benchmark tables that can be trusted.",
)
SAID = 6  # sentences of a kind before they are only counted
errors = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)

app.add_typer(data_app, name="data")
app.command()(diagnose)


def run() -> None:
    """Run the command line: a user's mistake is a sentence and exit code 2, never a traceback."""
    try:
        app(standalone_mode=True)
    except KeyboardInterrupt:
        sys.exit(130)
    except (ValueError, TypeError, OSError, ImportError) as error:
        errors.print(f"landbridge: {_sentence(error)}")
        if os.environ.get("LANDBRIDGE_TRACEBACK"):
            raise
        sys.exit(2)


def _sentence(error: Exception) -> str:
    """What the error says; of the system's own, which name a file and a number, a sentence."""
    if not isinstance(error, OSError) or error.filename is None or error.strerror is None:
        return str(error)
    return (
        f"{error.filename} cannot be used: {error.strerror[:1].lower()}{error.strerror[1:]}. See that it is there and "
        "that you may read it, or write to it, or name another."
    )


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
    threads: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Of each cell. If left out: what the folder was begun with, else OMP_NUM_THREADS, else cores / jobs.",
        ),
    ] = None,
    keep_outputs: Annotated[
        str,
        typer.Option(help="all: logits and features at the checkpoints (5 to 20 MB a cell); or scores."),
    ] = "all",
    fresh: Annotated[bool, typer.Option("--fresh", help="Run cells again that are there already.")] = False,
    checkpoints: Annotated[
        int | None, typer.Option(min=1, help="Evaluations during training, instead of the protocol's.")
    ] = None,
    frozen: Annotated[
        bool, typer.Option("--frozen", help="Photographs: extract features once, train a bottleneck and head on them.")
    ] = False,
    backbone: Annotated[
        str | None, typer.Option(help="Photographs: resnet50, squeezenet1_0, timm/NAME ...; the suite's if left out.")
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Of the backbone: a .safetensors file, 'pretrained' (downloaded) or 'none'."),
    ] = None,
    normalise: Annotated[
        str | None,
        typer.Option(
            help="What the weights were trained on: imagenet (RGB) or caffe (BGR less means). A file's is guessed."
        ),
    ] = None,
    side: Annotated[int | None, typer.Option(min=32, help="Photographs: pixels the network sees.")] = None,
    ten_crops: Annotated[bool, typer.Option("--ten-crops", help="Photographs: evaluate on ten crops.")] = False,
    validator: Annotated[str | None, typer.Option(help="Label-free score of the column 'chosen'.")] = None,
    method_from: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILE:CLASS", help="A row more: a method of yours, from a file. NAME=FILE:CLASS names the row."
        ),
    ] = None,
) -> None:
    """Fill a suite's table: run the cells that are missing, then write and print it.

    Interrupted, it goes on where it stopped when run again, inside a cell too.
    """
    from ..shared.devices import resolve_device
    from ..shared.names import nearest
    from . import runner
    from .own_methods import read_own, with_own
    from .suite import choose_backbone, read_suite
    from .threads import choose_threads, keep_threads

    if keep_outputs not in ("all", "scores"):
        raise ValueError("--keep-outputs: " + nearest("word", keep_outputs, ["all", "scores"]))
    own = [read_own(asked) for asked in method_from or ()]
    chosen = with_own(read_suite(suite), own)
    methods = methods if methods is None else ",".join([methods, *(each.name for each in own)])
    protocol = protocol or chosen.protocol
    if protocol not in chosen.protocols:
        raise ValueError("--protocol: " + nearest("protocol", protocol, chosen.protocols))
    out = out or Path("runs") / chosen.name
    where = resolve_device(device)
    columns, rows = chosen.choose("tasks", tasks, protocol), chosen.choose("methods", methods, protocol)
    validator = _validator(validator)
    network, source = choose_backbone(
        chosen, name=backbone, weights=weights, normalise=normalise, side=side, ten_crops=ten_crops, frozen=frozen
    )
    if chosen.images is not None and data is not None:
        _prepare_what_changed(chosen, columns, data)
    if network is not None and isinstance(source, Path):
        from .normalisation import unless_told

        network, sentence = unless_told(chosen, network, source, data, normalise)
        if sentence:
            errors.print(sentence)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    side_by_side = jobs or (cores if where.type == "cpu" else 1)
    with runner.exclusive(out):
        of_each = choose_threads(out, threads, cores=cores, side_by_side=side_by_side, fresh=fresh)
        found = runner.plan(
            chosen,
            protocol=protocol,
            tasks=columns,
            methods=rows,
            seeds=seeds or chosen.protocols[protocol].seeds or chosen.seeds,
            out=out,
            data=data,
            device=device,
            keep=keep_outputs,
            fresh=fresh,
            steps=steps,
            checkpoints=checkpoints,
            backbone=network,
            weights=source,
            own=own,
            threads=of_each.number,
            say=errors.print,
        )
        if found.jobs:
            keep_threads(out, of_each.number)
        failures = _run_grid(found, max(1, min(side_by_side, len(found.jobs))), of_each, out)
    if found.done or len(failures) < len(found.jobs):
        _make_table(out, validator, chosen, found.identities)
    if failures:
        for failure in failures:
            s = failure.settings
            errors.print(f"failed: {s.task} {s.method} seed {s.seed}: {failure.message}")
        errors.print(
            f"{len(failures)} of {len(found.jobs)} cells failed; tracebacks are in {out / 'failures.log'}. "
            "Run the same command again (without --fresh, if you gave it) to try only these."
        )
        raise typer.Exit(1)


def _prepare_what_changed(suite: Suite, tasks: list[str], data: Path) -> None:
    """Decode photographs that are new or changed since they were prepared; nothing if they are not under ``data``."""
    from .cell import forget_data
    from .datasets.folders import holds
    from .datasets.prepare import prepare

    assert suite.images is not None
    needed = {domain for task in tasks for domain in task.split("->")}
    domains = [domain for domain in suite.images.domain_names() if domain in needed]
    if all(holds(suite.images, data, domain) for domain in domains):
        prepare(suite.name, suite.images, domains, data, say=errors.print)
        forget_data()


def _run_grid(found: Plan, processes: int, threads: Threads, out: Path) -> list[Failure]:
    from . import runner

    for sentence in found.other_threads[:SAID]:
        errors.print(sentence)
    if len(found.other_threads) > SAID:
        errors.print(f"... and {len(found.other_threads) - SAID} more cells begun with other threads")
    for sentence in found.changed[:SAID]:
        errors.print(f"settings changed, runs again: {sentence}")
    if len(found.changed) > SAID:
        errors.print(f"... and {len(found.changed) - SAID} more cells with changed settings")
    total = len(found.jobs)
    already = f"; {found.done} are there already" if found.done else ""
    begun = f"; {found.resumed} go on where they stopped" if found.resumed else ""
    why = f" ({threads.why})" if threads.why else ""
    errors.print(f"{total} cells to run, {processes} at a time, {threads.number} thread(s) each{why}{already}{begun}")
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
        return runner.run(found.jobs, processes=processes, threads=threads.number, ended=report)
    except KeyboardInterrupt:
        errors.print(
            f"stopped: {ended} of {total} cells are done and kept in {out}. Run the same command again to go on "
            "(without --fresh, if you gave it), inside the cells that had begun too."
        )
        raise typer.Exit(130) from None


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def _validator(name: str | None) -> str:
    from ..shared.names import nearest
    from ..shared.validators import DEFAULT_VALIDATOR, VALIDATORS

    if name is not None and name not in VALIDATORS:
        raise ValueError("--validator: " + nearest("validator", name, VALIDATORS))
    return name or DEFAULT_VALIDATOR


def _read(out: Path) -> tuple[list[Cell], list[str]]:
    from .results import read_folder

    if not out.is_dir():
        raise ValueError(f"there is no folder {out}. Pass the --out folder of a bench.")
    cells, problems = read_folder(out)
    if not cells:
        said = f"{out} holds no finished cell. Run 'landbridge bench SUITE --out {out}' first."
        raise ValueError(" ".join([said, *problems]))
    return cells, problems


def _make_table(out: Path, validator: str, suite: Suite | None = None, identities: Collection[str] = ()) -> Table:
    from .comparisons import kept_hits
    from .departures import filled_in
    from .proportions import kept_proportions
    from .render import print_table, write_tables
    from .results import asked_for, folders_of, newest
    from .selection import backwards_here, selections
    from .suite import shipped
    from .table import summarise

    cells, problems = _read(out)
    known = [suite] if suite is not None else []
    known += shipped(sorted({cell.suite for cell in cells} - {s.name for s in known}))
    shown = asked_for(filled_in(cells, known), identities)
    table = summarise(
        shown,
        published=[row for s in known for row in s.published],
        order=[method for s in known for method in s.methods],
        tasks=[task for s in known for task in s.tasks],
        warnings=[*problems, *backwards_here(out, newest(shown)[0], validator)],
        selections=selections(out, shown, also=[validator]),
        validator=validator,
        hits=kept_hits(folders_of(out, shown)),
        proportions=kept_proportions(folders_of(out, shown)),
    )
    print_table(table)
    written = write_tables(out, table)
    errors.print("wrote " + ", ".join(str(path) for path in written))
    return table


@app.command()
def table(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The --out folder of a bench.")],
    validator: Annotated[str | None, typer.Option(help="Label-free score of the column 'chosen'.")] = None,
    strict: Annotated[
        bool,
        typer.Option(
            "--strict", help="Exit with 1 where a method is below source-only: over seeds, or on the same images."
        ),
    ] = False,
) -> None:
    """Make the table of a folder's cells anew: print it, and write table.md, .tex, .csv and results.png."""
    from .table import negative_transfer

    made = _make_table(folder, _validator(validator))
    found = negative_transfer(made)
    if strict and found:
        for sentence in found:
            errors.print(f"negative transfer: {sentence}")
        raise typer.Exit(1)


@app.command()
def validators(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The --out folder of a bench.")],
    expensive: Annotated[
        bool, typer.Option("--expensive", help="Also circular validation, which trains a head on stored features.")
    ] = False,
) -> None:
    """Tell how well each label-free validator orders the checkpoints, and what it would have picked.

    Written to validators.md and validators.csv in the folder, too.
    """
    from .outputs import write_output
    from .render_terminal import PIPED_WIDTH
    from .selection import rank, ranking_to_csv, ranking_to_markdown, render_ranking

    _read(folder)
    ranking = rank(folder, expensive=expensive)
    console = Console()
    (console if console.width >= PIPED_WIDTH else Console(width=PIPED_WIDTH)).print(render_ranking(ranking))
    for name, text in (("md", ranking_to_markdown(ranking)), ("csv", ranking_to_csv(ranking))):
        path = folder / f"validators.{name}"
        write_output(path, text.encode())
        errors.print(f"wrote {path}")


@app.command()
def report(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR...", help="The --out folders of benches.")],
    page: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="Where the page goes.")] = Path(
        "report.html"
    ),
    validator: Annotated[str | None, typer.Option(help="Label-free score of the column 'chosen'.")] = None,
) -> None:
    """Write one self-contained page of the results: tables, curves, confusion matrices, versions and settings."""
    from .report import write_report

    for folder in folders:
        _read(folder)
    errors.print(f"wrote {write_report(folders, page, validator=_validator(validator))}")


@app.command()
def methods() -> None:
    """List the methods: what each needs, and the paper it comes from."""
    from rich.table import Table as Grid

    from ..methods import METHODS

    grid = Grid(box=None, pad_edge=False, header_style="bold")
    for title in ("method", "class", "needs", "what it does"):
        grid.add_column(title, overflow="fold")
    for name, kind in METHODS.items():
        about = (kind.__doc__ or "").strip().splitlines()[0]
        grid.add_row(
            name, f"{kind.__module__.split('.')[1]}.{kind.__name__}", " ".join(sorted(kind.needs)) or "-", about
        )
    Console().print(grid)
