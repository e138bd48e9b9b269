"""The commands of ``landbridge data``: what is there, fetching it, and preparing photographs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from typer.core import TyperGroup

if TYPE_CHECKING:
    from .datasets import Status
    from .suite import Suite

__all__ = ["DataOption", "data_app"]

DataOption = Annotated[
    Path | None,
    typer.Option("--data", metavar="DIR", envvar="LANDBRIDGE_DATA", help="Folder of data sets that are not embedded."),
]
SuiteArgument = Annotated[str, typer.Argument(metavar="SUITE", help="A suite's name, or a .toml file of yours.")]
errors = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)


class _StatusUnlessNamed(TyperGroup):
    """``landbridge data SUITE`` is ``landbridge data status SUITE``."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args and args[0] not in self.commands:
            args = ["status", *args]
        return super().resolve_command(ctx, args)


data_app = typer.Typer(
    cls=_StatusUnlessNamed,
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Data of a suite: 'data SUITE' tells what is there, 'data prepare SUITE' makes photographs ready.",
)


@data_app.command()
def status(
    suite: SuiteArgument,
    data: DataOption = None,
    download: Annotated[bool, typer.Option("--download", help="Fetch what has a stable address.")] = False,
) -> None:
    """Tell which data of a suite is there, what is missing, damaged or not decoded yet, and what to do.

    Files are looked into, and arrays read. The exit code is 1 where something has to be done before training.
    """
    from . import datasets
    from .suite import read_suite

    chosen = read_suite(suite)
    if download and chosen.dataset in datasets.DATASETS:
        datasets.get(chosen.dataset, list(chosen.tasks), data, progress=True)
    found = _status(chosen, data)
    out = Console(highlight=False)
    wide = max(len(each.name) for each in found)
    states = [each.state or ("there" if each.present else "missing") for each in found]
    shown = [state if state == "there" else state.upper() for state in states]
    high = max(map(len, shown))
    for each, state in zip(found, shown, strict=True):
        out.print(f"{each.name:{wide}}  {state:{high}}  {each.size}  ({each.where})", soft_wrap=True, markup=False)
        if state != "there":
            out.print(f"{'':{wide}}  {each.how}", soft_wrap=True, markup=False)
    if not all(each.present for each in found):
        raise typer.Exit(1)


def _status(suite: Suite, data: Path | None) -> list[Status]:
    from . import datasets

    if suite.images is not None:
        from .datasets import prepare as prepared

        return prepared.status(suite.name, suite.images, suite.images.domain_names(), data)
    if suite.features is not None:
        from .datasets import features

        return features.status(suite.name, suite.features, suite.features.domain_names(), data)
    if suite.arrays is not None:
        from .datasets import arrays

        return arrays.status(suite.name, suite.arrays, suite.arrays.domain_names(), data)
    return datasets.status(suite.dataset, list(suite.tasks), data)


@data_app.command()
def prepare(
    suite: SuiteArgument,
    data: DataOption = None,
    processes: Annotated[int | None, typer.Option(min=1, help="Images decoded side by side; one a core.")] = None,
) -> None:
    """Check the photographs of a suite and decode each once, into an array that training reads without decoding.

    Interrupted, it goes on where it stopped when run again. The arrays go to the cache folder: LANDBRIDGE_CACHE, or
    ~/.cache/landbridge.
    """
    from .datasets.prepare import prepare as prepare_arrays
    from .suite import read_suite

    chosen = read_suite(suite)
    if chosen.images is None:
        raise ValueError(f"{chosen.name} has no photographs to prepare: it needs nothing but its data.")
    if data is None:
        raise ValueError(f"data prepare needs the folder of {chosen.name}'s photographs. Pass --data DIR.")
    made = prepare_arrays(
        chosen.name, chosen.images, chosen.images.domain_names(), data, processes=processes, say=errors.print
    )
    for domain, prepared in made.items():
        side = prepared.array.shape[-1]
        errors.print(f"{domain}: {len(prepared.labels)} images of {len(prepared.classes)} classes, {side} x {side}")
