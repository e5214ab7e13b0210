"""What comes from outside made printable, and numbers as people read them."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Final

#: What short counts are counted in, and how many digits stand after the point.
_UNITS: Final = ((10**3, "k", 1), (10**6, "M", 1), (10**9, "B", 2), (10**12, "T", 2))
_CENT: Final = Decimal("0.01")


def printable(text: str) -> str:
    """A text from outside, such as a path, without what steers a terminal or ends a line."""
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )


def money(nanousd: int) -> str:
    """Dollars: cents from one dollar on, below it four significant digits."""
    usd = Decimal(nanousd).scaleb(-9)
    places = 2 if usd >= 1 or not usd else max(2, 3 - usd.adjusted())
    rounded = f"{usd.quantize(Decimal(1).scaleb(-places), ROUND_HALF_EVEN):,f}"
    cents = rounded.index(".") + 3
    return f"${rounded[:cents]}{rounded[cents:].rstrip('0')}"


def at_least(said: str, *, is_exact: bool) -> str:
    """A sum in words, which says so where something that belongs in it is not known."""
    return said if is_exact else f"≥ {said}"


def on_plan(nanousd: int, calls: int, unpriced: int, *, is_exact: bool) -> str:
    """What the API would have asked for calls on a plan, named so: it is in no cost.

    Of the `unpriced` of them nobody knows it.
    """
    price = "unpriced" if unpriced == calls else at_least(money(nanousd), is_exact=is_exact)
    without = f", {unpriced:,} without a price" if 0 < unpriced < calls else ""
    return f"plan, at API prices: {price} ({counted(calls, 'call')}{without})"


def short_money(nanousd: int) -> str:
    """Dollars in few cells: whole ones from a hundred on, millions as a short count."""
    usd = Decimal(nanousd).scaleb(-9)
    if abs(usd).quantize(_CENT, ROUND_HALF_EVEN) < 100:  # noqa: PLR2004
        return money(nanousd)
    whole = int(usd.quantize(Decimal(1), ROUND_HALF_EVEN))
    return f"${whole:,}" if abs(whole) < 10**6 else f"${short_count(whole)}"


def short_count(count: int) -> str:
    """A count in few cells: 999, 1.2k, 34.5M, 2.91B. Rounded half to even, as money."""
    shown = str(count)
    for size, unit, places in _UNITS:
        if len(shown.lstrip("-").partition(".")[0]) < len("1000"):
            break
        rounded = (Decimal(count) / size).quantize(Decimal(1).scaleb(-places), ROUND_HALF_EVEN)
        shown = f"{rounded:,f}{unit}"
    return shown


def percent(part: float, whole: float) -> str:
    """A share to a tenth: "94.5 %". 0 % and 100 % are exact: near them are "<0.1 %", ">99.9 %".

    "-" where there is no whole.
    """
    if not whole:
        return "-"
    if part in (0, whole):
        return "100 %" if part else "0 %"
    share = 100 * part / whole
    if part > 0 and share < 0.1:  # noqa: PLR2004 - not even a tenth
        return "<0.1 %"
    if part < whole and share > 99.9:  # noqa: PLR2004
        return ">99.9 %"
    return f"{share:,.1f} %"


def latency(ms: float) -> str:
    """How long something took, in few cells: 512 ms, 4.5 s, 1 min 10 s, 2 h 5 min."""
    if round(ms) < 1000:  # noqa: PLR2004
        return f"{ms:.0f} ms"
    if round(ms, -2) < 60_000:  # noqa: PLR2004
        return f"{ms / 1000:.1f} s"
    minutes, seconds = divmod(round(ms / 1000), 60)
    if minutes < 60:  # noqa: PLR2004
        return f"{minutes} min {seconds} s"
    hours, minutes = divmod(round(ms / 60_000), 60)
    return f"{hours:,} h {minutes} min"


def counted(count: int, thing: str) -> str:
    """A count and its thing: "1 call", "12,345 calls"."""
    return f"{count:,} {thing}" if count == 1 else f"{count:,} {thing}s"


def some(names: Sequence[str], count: int | None = None, most: int = 3) -> str:
    """The first few names, and how many more there are: of these, or of `count`."""
    more = (len(names) if count is None else count) - len(names[:most])
    named = ", ".join(names[:most])
    return f"{named} and {more:,} more" if more > 0 else named


def size(count: float) -> str:
    """Bytes in the largest unit that leaves a digit before the point."""
    if count < 1000:  # noqa: PLR2004 - the step between two units
        return f"{count:.0f} B"
    for unit in ("kB", "MB", "GB"):
        count /= 1000
        if count < 1000:  # noqa: PLR2004
            return f"{count:.1f} {unit}"
    return f"{count / 1000:.1f} TB"


def duration(seconds: float) -> str:
    """Seconds in the largest unit of which there are two."""
    for unit, length_s in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length_s:
            return f"{seconds / length_s:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"
