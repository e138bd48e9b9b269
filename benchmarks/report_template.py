"""How the results page is put together: templates, words for its numbers, and a policy that lets nothing else run."""

from __future__ import annotations

from datetime import datetime, timezone
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any

from .. import __version__
from ..shared.pages import digest, own_text, templates
from .blocks import BASELINE, BOUND, Number, readable

__all__ = ["duration", "fill", "half_up", "moment", "series", "signed", "spread", "tip"]

TEMPLATES = Path(__file__).parent / "templates"
STYLES = 7  # colours that lines have before they start again with another dash; see report.css
DASHES = 3
MINUS, THIN = "\u2212", "\u2009"


def fill(data: dict[str, Any], **context: Any) -> str:
    """The page as text.

    Everything in ``context`` is escaped. The policy names the digests of the page's own style and script: whatever else
    a label might smuggle in does not run, and nothing is fetched.

    Args:
        data: what the script needs.
        context: what the templates need.
    """
    from jinja2.utils import htmlsafe_json_dumps
    from markupsafe import Markup

    environment = templates(TEMPLATES)
    environment.filters |= {
        "arrow": lambda task: task.replace("->", " \u2192 "),
        "half_up": half_up,
        "memory": lambda value: f"{value:,.0f}".replace(",", THIN),
        "p": lambda value: "< 0.001" if value < 0.001 else f"{value:.3f}",
        "seconds": duration,
        "series": series,
        "signed": signed,
        "spread": spread,
        "tenth": lambda value: f"{value:.1f}",
        "tip": tip,
    }
    css, script = own_text(TEMPLATES, "report.css"), own_text(TEMPLATES, "report.js")
    text: str = environment.get_template("report.html.j2").render(
        css=Markup(css),
        script=Markup(script),
        policy=f"default-src 'none'; script-src '{digest(script)}'; style-src '{digest(css)}'; img-src data:; "
        "base-uri 'none'; form-action 'none'",
        data=htmlsafe_json_dumps(data, separators=(",", ":")),
        version=__version__,
        bound=BOUND,
        **context,
    )
    return text


def signed(value: float) -> str:
    """One decimal with its sign, and a true minus.

    >>> signed(-0.04), signed(1.26), signed(-3.0) == MINUS + "3.0"
    ('+0.0', '+1.3', True)
    """
    return f"{round(value, 1) + 0.0:+.1f}".replace("-", MINUS)  # + 0.0 turns -0.0 into 0.0


def half_up(value: float) -> str:
    """One decimal, halves upwards as papers round: 73.85 is 73.9 though its nearest float lies below.

    >>> half_up(73.85)
    '73.9'
    """
    return str(Decimal(repr(value)).quantize(Decimal("0.1"), ROUND_HALF_UP))


def spread(number: Number) -> str:
    """Half the interval; where that is wider than the scale, the lowest and the highest seed; "" for one seed."""
    if number.range is not None:
        return f"\u00b1 n/a [{number.range[0]:.1f}..{number.range[1]:.1f}]"
    return "" if number.interval is None else f"\u00b1 {number.interval:.1f}"


def tip(number: Number) -> str:
    """All that is known of a number of the table, in a few words."""
    seeds = ", ".join(map(str, number.seeds))
    parts = [f"{number.mean:.2f} %, mean over seed{'s' if len(number.seeds) > 1 else ''} {seeds}"]
    if number.interval is not None:
        parts.append(f"standard error {number.stderr:.2f}, 95% interval \u00b1 {number.interval:.2f}")
    if number.range is not None:
        parts.append(f"seeds from {number.range[0]:.2f} to {number.range[1]:.2f} (95% interval wider than the scale)")
    if number.gain is not None:
        parts.append(f"gain {number.gain:+.2f}{_width(number.gain_half_width)}")
    if number.p_holm is not None:
        parts.append(f"p = {number.p_holm:.2g} (two-sided, after Holm over {number.comparisons})")
    if number.p_images is not None:
        parts.append(
            f"below on the same images: p = {number.p_images:.2g} (exact McNemar in every seed, after Holm over "
            f"{number.images_comparisons})"
        )
    if number.beyond is not None:
        parts.append(f"over AdaBN {number.beyond.gain:+.2f}{_width(number.beyond.half_width)}")
        if number.beyond.p_holm is not None:
            parts.append(f"p = {number.beyond.p_holm:.2g} (after Holm over {number.beyond.comparisons})")
    if number.n is not None:
        parts.append(f"{number.n} target rows a seed")
    return "; ".join(parts)


def _width(half_width: float | None) -> str:
    half = readable(half_width)
    return "" if half is None else f" \u00b1 {half:.2f}"


def series(place: int, method: str) -> str:
    """The classes of a line: the baseline and the bound in ink, all others in the colours' order.

    >>> series(0, "source-only"), series(1, "adabn"), series(8, "mcc")
    ('s-base', 's-0 dash-0', 's-0 dash-1')
    """
    if method in (BASELINE, BOUND):
        return "s-base" if method == BASELINE else "s-bound"
    round_of_colours, colour = divmod(max(0, place - 1), STYLES)
    return f"s-{colour} dash-{round_of_colours % DASHES}"


def duration(seconds: float) -> str:
    """Seconds as one reads them.

    >>> duration(23.84), duration(133), duration(33300)
    ('23.8 s', '2 min 13 s', '9 h 15 min')
    """
    if seconds < 100:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"


def moment(time: datetime) -> str:
    """A time in UTC, to the minute."""
    return time.astimezone(timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
