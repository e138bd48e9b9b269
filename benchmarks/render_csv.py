"""A table as CSV in long form: everything it holds, one line a number."""

from __future__ import annotations

import csv
import io

from .blocks import Beyond, Row, Table, readable

__all__ = ["CSV_HEADER", "to_csv"]

CSV_HEADER = (
    "suite",
    "protocol",
    "network",
    "track",
    "task",
    "method",
    "column",
    "mean",
    "stderr",
    "seeds",
    "n",
    "published",
    "published_source",
    "low",
    "high",
    "baseline",
    "gain",
    "gain_low",
    "gain_high",
    "p",
    "p_holm",
    "p_below",
    "p_tasks",
    "negative_transfer",
    "rank",
    "collapsed",
    "seconds",
    "peak_memory",
    "lowest",
    "highest",
    "p_images",
    "gain_adabn",
    "gain_adabn_low",
    "gain_adabn_high",
    "p_adabn",
    "p_adabn_holm",
)


def to_csv(table: Table) -> str:
    """A table in long form, one row per number, in percent; blanks have no row.

    ``column`` is ``last``, ``chosen:VALIDATOR`` or ``oracle``. ``seeds`` counts them; ``n`` is how many target rows one
    seed is scored on (their total for the average; empty if the seeds differ). ``published`` is the first published
    value under the same protocol, else the first at all; ``published_source`` says where from, under which protocol and
    how selected, and names the others.

    ``low`` to ``high`` is the 95% interval of the mean over seeds, empty where it would be wider than the scale;
    ``lowest`` and ``highest`` are the seeds' own. ``gain`` is the mean difference to ``baseline`` with its interval;
    ``p``, ``p_holm``, ``p_below`` (one-sided) and ``p_tasks`` are its tests over seeds, ``p_images`` that on the same
    images, see :class:`.blocks.Number`; ``negative_transfer`` is 1 where ``p_below`` or ``p_images`` is under 0.05, 0
    where neither is, and empty where there is neither. ``gain_adabn`` is the mean difference to AdaBN, with its
    interval and tests. ``rank`` is the average rank,
    ``collapsed`` counts seeds whose chosen checkpoint has collapsed. ``seconds`` (median of a cell) and
    ``peak_memory`` (MiB, of the largest cell) are the method's. What could not be had is empty.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(CSV_HEADER)
    for block in table.blocks:
        for row in block.rows:
            for column in table.columns:
                for place, number in row.numbers[column].items():
                    gain, beyond = number.gain, number.beyond
                    tested = number.p_below is not None or number.p_images is not None
                    writer.writerow(
                        (
                            *(block.suite, block.protocol, block.network, block.track, place, row.method, column),
                            *(f"{number.mean:.4f}", _places(number.stderr), len(number.seeds)),
                            "" if number.n is None else number.n,
                            *_published(row, place),
                            *_ends(number.mean, number.interval),
                            "" if gain is None else row.baseline,
                            _places(gain),
                            *_ends(gain, readable(number.gain_half_width)),
                            *map(_probability, (number.p, number.p_holm, number.p_below, number.p_tasks)),
                            int(number.negative) if tested else "",
                            _places(number.rank),
                            number.collapsed,
                            f"{row.seconds:.3f}",
                            "" if row.peak_memory is None else f"{row.peak_memory:.1f}",
                            *(_places(number.lowest), _places(number.highest), _probability(number.p_images)),
                            *(_beyond(beyond) if beyond else [""] * 5),
                        )
                    )
    return text.getvalue()


def _beyond(beyond: Beyond) -> list[str]:
    ends = _ends(beyond.gain, readable(beyond.half_width))
    return [_places(beyond.gain), *ends, _probability(beyond.p), _probability(beyond.p_holm)]


def _places(value: float | None) -> str:
    return "" if value is None else f"{round(value, 4) + 0.0:.4f}"  # + 0.0 turns -0.0 into 0.0


def _probability(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _ends(mean: float | None, half: float | None) -> tuple[str, str]:
    if mean is None or half is None:
        return "", ""
    return _places(mean - half), _places(mean + half)


def _published(row: Row, place: str) -> tuple[str, str]:
    quotes = [quote for quote in row.quotes if place in quote.values]
    quotes.sort(key=lambda quote: not quote.same_protocol)  # stable: the suite's order within
    if not quotes:
        return "", ""
    first, *others = quotes
    marks = ["" if quote.same_protocol else "† " for quote in quotes]
    source = marks[0] + first.published.describe()
    for mark, quote in zip(marks[1:], others, strict=True):
        source += f"; also {quote.values[place]:.10g}: {mark}{quote.published.describe()}"
    return f"{first.values[place]:.10g}", source
