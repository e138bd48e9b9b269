"""The page of a diagnosis: one HTML file that opens with the verdict and fetches nothing."""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ..shared.pages import digest, own_text, templates
from .results import Distance, TwoSampleTest
from .words import p_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from .diagnose import Diagnosis

__all__ = ["Section", "Shown", "render", "sections"]

TEMPLATES = Path(__file__).parent / "templates"
NAMED_FEATURES = 10  # of the most shifted, as a table
MINUS = "\N{MINUS SIGN}"
RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


class Shown(NamedTuple):
    """One figure: its title, one sentence on how to read it, and the picture."""

    title: str
    reading: str
    picture: str  # data:image/png;base64,...
    wide: bool = False


class Grid(NamedTuple):
    """One table: a caption, column titles, and rows of text."""

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    words: int = 0  # how many of the last columns hold words, not numbers


class Section(NamedTuple):
    """A part of the page, left out where it has nothing to show."""

    id: str
    title: str
    about: str
    grids: tuple[Grid, ...] = ()
    figures: tuple[Shown, ...] = ()


def render(diagnosis: Diagnosis, *, title: str) -> str:
    """The page as text.

    All text is escaped. The page's policy names the digest of its own style sheet and lets pictures come from the page
    alone: whatever a name might smuggle in does not run, and nothing is fetched.

    Args:
        diagnosis: what :func:`landbridge.diagnose` found.
        title: the heading.
    """
    from importlib.metadata import version

    from markupsafe import Markup

    environment = templates(TEMPLATES)
    css = own_text(TEMPLATES, "diagnosis.css")
    text: str = environment.get_template("diagnosis.html.j2").render(
        css=Markup(css),
        policy=f"default-src 'none'; style-src '{digest(css)}'; img-src data:; base-uri 'none'; form-action 'none'",
        title=title,
        verdict=diagnosis.verdict,
        before=diagnosis.before,
        about=diagnosis.about,
        sections=sections(diagnosis),
        version=version("landbridge"),
    )
    return text


def sections(diagnosis: Diagnosis) -> list[Section]:
    """What the page shows below the verdict, in its order."""
    found = (
        _tests(diagnosis),
        _distances(diagnosis),
        _rows(diagnosis),
        _where(diagnosis),
        _proportions(diagnosis),
        _model(diagnosis),
        _evaluated(diagnosis),
    )
    return [section for section in found if section is not None]


def _tests(diagnosis: Diagnosis) -> Section:
    verdict = diagnosis.verdict
    rows = tuple(
        (test.name, number(test.statistic), _p(test.p_value), _p(adjusted), _how(test))
        for test, adjusted in zip(verdict.tests, verdict.adjusted, strict=True)
    )
    columns: tuple[str, ...] = ("test", "statistic", "p", "p corrected", "how")
    grids = [Grid("Is there a shift? The smallest p after Holm's correction decides", columns, rows, words=1)]
    reading = "Grey is what the statistic does without a shift; the line is what it is. Far to the right: a shift."
    figures = [_figure(_sentence(test.name), reading, test.plot) for test in verdict.tests if len(test.null)]
    mixture = verdict.mixture
    if mixture is not None:
        row = (mixture.test.name, number(mixture.test.statistic), _p(mixture.test.p_value), _how(mixture.test))
        columns = ("test", "statistic", "p", "how")
        grids.append(Grid("Could the classes' proportions alone be the reason?", columns, (row,), words=1))
        figures.append(
            _figure(
                "Mixture test",
                "Grey is what the statistic does if other proportions of the classes are all there is; the line far to "
                "the right: the classes look different.",
                mixture.plot,
            )
        )
    about = "What the verdict is made of, and nothing else is."
    return Section("tests", "The tests", about, tuple(grids), tuple(figures))


def _how(test: TwoSampleTest) -> str:
    return test.note or (f"{len(test.null)} permutations" if len(test.null) else "permutations")


def _p(p_value: float) -> str:
    return p_text(p_value).removeprefix("p = ").removeprefix("p ")


def _sentence(name: str) -> str:
    return name[:1].upper() + name[1:]


def _distances(diagnosis: Diagnosis) -> Section:
    now = diagnosis.distances.found
    level = next((100 * each.level for each in now), 95.0)
    columns: tuple[str, ...] = ("distance", "value", f"{level:.0f}% interval", "scale", "how")
    rows: list[tuple[str, ...]] = [
        (each.name, number(each.value), _interval(each), each.scale, each.note) for each in now
    ]
    about = "The larger the further apart; 0 is what equal distributions have, up to chance. No verdict hangs on these."
    if diagnosis.before is not None:
        earlier = {each.name: each for each in diagnosis.before.distances.found}
        columns = ("distance", "before", "after", f"{level:.0f}% interval after", "scale", "how")
        rows = [(row[0], number(earlier[row[0]].value) if row[0] in earlier else "", *row[1:]) for row in rows]
        about += " Distances that depend on the features' scale compare before with after only as far as the scales do."
    figure = _figure(
        "Distances",
        "Each distance with its bootstrap interval; an interval that reaches 0 shows no distance for certain.",
        diagnosis.distances.plot,
    )
    words = 2
    if not any(row[-1] for row in rows):  # all of them on all rows
        columns, rows, words = columns[:-1], [row[:-1] for row in rows], 1
    grid = Grid("Distances", columns, tuple(rows), words)
    return Section("distances", "How far apart", about, (grid,), (figure,))


def _rows(diagnosis: Diagnosis) -> Section:
    shown, names = diagnosis.embedding, diagnosis.classes or None
    classes = names if names is not None and shown.source_classes is not None else None
    figures = [
        _figure(
            "By domain",
            "Each point is a row. Clouds of both colours on each other: no shift in these two directions; a colour by "
            "itself: rows the other domain has not.",
            lambda: shown.plot(colour="domain"),
        )
    ]
    if shown.source_classes is not None or shown.target_classes is not None:
        figures.append(
            _figure(
                "By class",
                "The same points by class, the target's as predicted unless they were given. A class whose discs and "
                "crosses part is shifted; crosses between the classes are rows the model will get wrong.",
                lambda: shown.plot(colour="class", classes=classes),
            )
        )
    before = diagnosis.before
    if (
        before is not None
        and len(before.source) == len(diagnosis.source)
        and len(before.target) == len(diagnosis.target)
    ):
        from .embedding import ComparedEmbeddings

        figures = [
            _figure(
                "Before and after",
                "The same rows before (above) and after (below). Adaptation worked on the features if the colours of "
                "the domains mix while the classes stay apart.",
                lambda: ComparedEmbeddings(before.embedding, shown).plot(classes=classes),
                wide=True,
            )
        ]
    return Section("rows", "The rows in the plane", shown.note, (), tuple(figures))


def _where(diagnosis: Diagnosis) -> Section:
    found = diagnosis.feature_shift
    level = diagnosis.verdict.level
    rows = tuple(
        (
            str(row["feature"]),
            number(row["statistic"]),
            _p(row["adjusted"]),
            number(row["mean_difference"]),
            number(row["spread_ratio"]),
        )
        for row in found.rows()[:NAMED_FEATURES]
    )
    count = len(found.shifted(level))
    caption = f"The {len(rows)} features that differ most, of {len(found.names)}; {count} shifted after correction"
    columns = ("feature", "largest gap", "p corrected", "mean difference, in deviations", "ratio of deviations")
    figures = [
        _figure(
            "Features",
            "The largest gap between the distribution functions of each feature, 0 to 1; coloured where it is more "
            "than chance over all features.",
            lambda: found.plot(level=level),
        ),
        _figure(
            "Witness",
            "Where the source has more rows than the target and the other way round: first over all features together, "
            "then along those that differ most.",
            diagnosis.witness.figure,
            wide=True,
        ),
    ]
    if diagnosis.spectra is not None:
        figures.append(
            _figure(
                "Spectra",
                "Left: how much each domain varies along its leading directions. Right: whether these directions are "
                "turned against each other, beside what chance alone turns.",
                diagnosis.spectra.figure,
                wide=True,
            )
        )
    return Section("where", "Where they differ", "", (Grid(caption, columns, rows),), tuple(figures))


def _proportions(diagnosis: Diagnosis) -> Section | None:
    shift, mixture = diagnosis.verdict.label_shift, diagnosis.verdict.mixture
    if shift is None or mixture is None:
        return None
    names = _names(diagnosis, len(shift.proportions))
    true = diagnosis.target_proportions
    rows = []
    for c, name in enumerate(names):
        cells = [
            name,
            share(shift.source_proportions[c]),
            share(shift.predicted_target[c]),
            share(shift.proportions[c]) + _between(shift.low[c], shift.high[c], share),
            share(mixture.proportions[c]) if c < len(mixture.proportions) else "",
        ]
        rows.append((*cells, share(true[c])) if true is not None else tuple(cells))
    columns: tuple[str, ...] = (
        "class",
        "source",
        "predicted in the target",
        "estimated (BBSE)",
        "estimated (nearest mixture)",
    )
    if true is not None:
        columns = (*columns, "true in the target")
    about = (
        "Two estimates of the target's class proportions, both right only if the classes look the same in both "
        "domains: from the classifier's predictions, and from the mixture of the source's classes nearest to the "
        "target."
    )
    figure = _figure(
        "Class proportions",
        "Bars of one class that differ by more than the interval: the class is more or less frequent in the target, if "
        "classes look the same.",
        lambda: shift.plot(classes=names),
    )
    grid = Grid("Class proportions, in percent", columns, tuple(rows))
    return Section("proportions", "Class proportions", about, (grid,), (figure,))


def _model(diagnosis: Diagnosis) -> Section | None:
    found, estimate, plan = diagnosis.calibration, diagnosis.estimated_accuracy, diagnosis.plan
    figures = []
    rows: list[tuple[str, ...]] = []
    if found is not None and estimate is not None:
        rows += [
            ("accuracy on the source rows", share(found.accuracy)),
            (
                "accuracy on the target, estimated without labels",
                share(estimate.value) + _between(estimate.low, estimate.high, share),
            ),
            (
                "calibration error on the source (ECE)",
                f"{share(found.error)} ({share(found.error_if_calibrated)} by chance alone)",
            ),
        ]
        figures += [
            _figure(
                "Reliability on the source",
                "On the diagonal a confidence of 80 % is right 80 % of the time; below it the model is overconfident.",
                found.plot,
            ),
            _figure(
                "Scores of both domains",
                "The estimate counts target rows beyond the threshold which, on the source, as many rows pass as are "
                "right. It trusts that errors look the same in both domains.",
                estimate.plot,
            ),
        ]
    if plan is not None:
        of = "as labelled" if diagnosis.target_proportions is not None else "as predicted"
        figures.append(
            _figure(
                "Transport between the classes",
                f"Where optimal transport carries each source class, the target's classes {of}: off the diagonal, "
                "methods by transport would learn wrong labels.",
                plan.plot,
            )
        )
    if not figures:
        return None
    grids = (Grid("The model, in percent", ("", ""), tuple(rows)),) if rows else ()
    return Section("model", "Classes and model", "", grids, tuple(figures))


def _evaluated(diagnosis: Diagnosis) -> Section | None:
    if diagnosis.target_proportions is None:
        return None
    rows: list[tuple[str, ...]] = []
    figures = []
    confusion, shift = diagnosis.confusion, diagnosis.class_shift
    if confusion is not None:
        rows += [
            ("accuracy on the target", share(confusion.accuracy)),
            ("averaged over the classes", share(confusion.balanced_accuracy)),
        ]
        figures.append(
            _figure(
                "Confusion",
                "Each row of the matrix is a true class, spread over what it was taken for.",
                confusion.plot,
            )
        )
    if shift is not None and shift.names:
        figures.append(
            _figure(
                "Classes by themselves",
                "A test within each class: coloured ones look different in the target, whatever their proportions.",
                lambda: shift.plot(level=diagnosis.verdict.level),
            )
        )
    grids = (Grid("By the target's labels, in percent", ("", ""), tuple(rows)),) if rows else ()
    about = "The labels of the target were given to evaluate; no word of the verdict depends on them."
    return Section("evaluated", "By the target's labels", about, grids, tuple(figures))


def _figure(title: str, reading: str, draw: Callable[[], Axes | Figure], *, wide: bool = False) -> Shown:
    from ..shared.style import to_png

    picture = base64.b64encode(to_png(draw())).decode()
    return Shown(title, reading, f"data:image/png;base64,{picture}", wide)


def _names(diagnosis: Diagnosis, k: int) -> Sequence[str]:
    # classes that the target alone has come after the source's
    return diagnosis.classes[:k] if len(diagnosis.classes) >= k else [str(c) for c in range(k)]


def number(value: float) -> str:
    """Three digits, a true minus, and powers of ten as such.

    >>> number(0.12345), number(123456.0), number(float("inf"))
    ('0.123', '1.23·10⁵', '∞')
    """
    if math.isinf(value):
        return ("" if value > 0 else MINUS) + "\N{INFINITY}"
    if math.isnan(value):
        return ""
    mantissa, _, power = f"{value:.3g}".partition("e")
    if power:
        mantissa += "·10" + str(int(power)).translate(RAISED)
    return mantissa.replace("-", MINUS)


def share(value: float) -> str:
    """A fraction in percent, with one decimal.

    >>> share(0.1234)
    '12.3'
    """
    return "" if math.isnan(value) else f"{100 * value:.1f}"


def _between(low: float, high: float, text: Callable[[float], str]) -> str:
    return "" if math.isnan(low) or math.isnan(high) else f" ({text(low)} to {text(high)})"


def _interval(distance: Distance) -> str:
    return _between(distance.low, distance.high, number).strip(" ()")
