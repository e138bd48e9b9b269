"""The command ``landbridge diagnose``: two domains, or a finished cell, and one page about them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer
from rich.console import Console

from .diagnose_inputs import MOST_GIB, SIDE

if TYPE_CHECKING:
    from ..diagnostics.diagnose import Diagnosis
    from .diagnose_inputs import Arrays

__all__ = ["diagnose"]

errors = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)


def diagnose(
    source: Annotated[
        Path | None,
        typer.Option(metavar="NPZ|DIR", help="Arrays x and, if known, y and logits; or a folder of images."),
    ] = None,
    target: Annotated[Path | None, typer.Option(metavar="NPZ|DIR", help="The same of the target, without y.")] = None,
    run: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Instead of both: the folder of one cell of a benchmark.")
    ] = None,
    model: Annotated[
        Path | None, typer.Option(metavar="FILE", help="What FitResult.save wrote: compare its features of x.")
    ] = None,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="Where the page goes.")] = Path(
        "report.html"
    ),
    evaluate: Annotated[
        bool, typer.Option("--evaluate", help="Score against the target's y (class folders, or of a cell).")
    ] = False,
    level: Annotated[float, typer.Option(help="Share of false alarms where there is no shift.")] = 0.05,
    seed: Annotated[int, typer.Option(help="Of everything drawn.")] = 0,
    side: Annotated[
        int | None,
        typer.Option(min=2, help=f"Folders of images: pixels they are squashed to; {SIDE}, or what the backbone sees."),
    ] = None,
    backbone: Annotated[
        str | None, typer.Option(help="Folders of images: compare features of resnet50, squeezenet1_0, timm/NAME ...")
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(
            metavar="FILE", help="Of the backbone: a .safetensors file, 'pretrained' (if left out) or 'none'."
        ),
    ] = None,
    normalise: Annotated[
        str | None, typer.Option(help="What the weights were trained on: imagenet or caffe. A file's is guessed.")
    ] = None,
    most_gib: Annotated[float, typer.Option(help="How much an archive may unpack to.")] = MOST_GIB,
) -> None:
    """Tell how two domains differ, and write one page: the verdict in words, then tests, distances and figures.

    The verdict is printed, too. Labels of the target are refused unless --evaluate: they change no verdict.
    """
    if backbone is None and (weights is not None or normalise is not None):
        raise ValueError("diagnose has --weights and --normalise for a --backbone; got none. Add --backbone resnet50.")
    if run is not None:
        if source is not None or target is not None or model is not None or backbone is not None:
            raise ValueError("diagnose takes --run, or --source and --target (and --model or --backbone), not both.")
        found, title = _of_cell(run, evaluate, level, seed)
    else:
        if source is None or target is None:
            raise ValueError(
                "diagnose needs --source and --target, each an .npz file or a folder; or --run with a cell."
            )
        if model is not None and backbone is not None:
            raise ValueError("diagnose takes the features of --model or of --backbone, not of both.")
        seen = None if backbone is None else _Backbone(backbone, weights or "pretrained", normalise)
        found = _of_domains(source, target, model, seen, evaluate, level, seed, side, most_gib)
        title = f"{source.stem} \N{RIGHTWARDS ARROW} {target.stem}"
    Console(highlight=False, markup=False, soft_wrap=True).print(str(found))
    errors.print(f"wrote {found.write(output, title=title)}")


class _Backbone(NamedTuple):
    name: str
    weights: str
    normalise: str | None


def _of_domains(
    source: Path,
    target: Path,
    model: Path | None,
    backbone: _Backbone | None,
    evaluate: bool,
    level: float,
    seed: int,
    side: int | None,
    most_gib: float,
) -> Diagnosis:
    from ..diagnostics.diagnose import diagnose as look
    from .diagnose_inputs import read_domain, see

    if side is None and backbone is not None:
        from ..shared.backbones import find_backbone

        side = find_backbone(backbone.name).side
    domains = [read_domain(path, most_gib=most_gib, side=side or SIDE, say=errors.print) for path in (source, target)]
    (x, y, logits), (z, of_target, target_logits) = (domain.arrays for domain in domains)
    folders = target.is_dir()
    if of_target is not None and not evaluate and not folders:  # folders are by class for whatever reason
        raise ValueError(
            f"{target} holds y, labels of the target. A verdict may not see them: leave them out of the file, or pass "
            "--evaluate to have the model scored against them (the verdict stays the same)."
        )
    if evaluate and of_target is None:
        raise ValueError(f"--evaluate needs labels of the target; {target} holds none (y, or a folder a class).")
    network = None  # of a file
    if model is not None:
        from ..shared.result import load

        try:
            network = load(model)
        except ValueError as error:
            if "of your own making" not in str(error):
                raise
            raise ValueError(
                f"--model {model} holds the weights of a network of your own making, and a file cannot make it again. "
                "Write its features as x and its logits into the .npz files; or in Python: "
                "lb.diagnose(x, z, network=lb.load(path, network))."
            ) from error
        logits = target_logits = None
    about = [("source", domains[0].about), ("target", domains[1].about)]
    if backbone is not None:
        seen = see(x, z, backbone.name, weights=backbone.weights, normalise=backbone.normalise, say=errors.print)
        x, z = seen.source, seen.target
        about.append(seen.about)
    numbered: dict[str, Any] = {"source_labels": y, "evaluate": of_target if evaluate else None}
    if model is not None:
        about.append(("model", model.name))
    return look(
        x,
        z,
        **numbered,
        network=network,
        source_logits=logits,
        target_logits=target_logits,
        about=about,
        level=level,
        seed=seed,
    )


def _of_cell(folder: Path, evaluate: bool, level: float, seed: int) -> tuple[Diagnosis, str]:
    from ..diagnostics.diagnose import diagnose as look
    from .diagnose_inputs import read_cell

    cell = read_cell(folder, evaluate=evaluate)

    def at(pair: tuple[Arrays, Arrays], **more: Any) -> Diagnosis:
        source, target = pair
        return look(
            source.x,
            target.x,
            source_labels=source.y,
            source_logits=source.logits,
            target_logits=target.logits,
            evaluate=cell.target_labels,
            classes=cell.classes,
            level=level,
            seed=seed,
            **more,
        )

    split = "held-out source rows" if cell.split == "source_holdout" else "source rows that were trained on"
    about = [
        ("compared", f"features of {split} and of scored target rows"),
        ("steps", " and ".join(map(str, cell.steps))),
    ]
    if cell.steps[0] == cell.steps[1]:
        return at(cell.last, about=about), cell.title
    return at(cell.last, before=at(cell.first), about=about), cell.title
