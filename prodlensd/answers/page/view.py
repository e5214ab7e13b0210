"""A page, put together of figures: all that its template shows, in order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from prodlensd.answers.page import charts, drawing, tables
from prodlensd.answers.page.address import Asked
from prodlensd.answers.page.numbers import Beside, Numbers, Quality
from prodlensd.answers.page.parts import (
    Addresses,
    Anchors,
    Chart,
    Link,
    Links,
    Section,
    Sign,
    Table,
    Tile,
    shown,
)
from prodlensd.answers.periods import Period, local_time
from prodlensd.answers.report import Figures
from prodlensd.answers.wording import at_api_prices, change, cost, day_name, days_of
from prodlensd.text import counted, latency, money, percent, printable, short_count

#: The pages of a time that every page leads to.
_PERIODS: Final = {
    "today": "today",
    "this week": "this-week",
    "this month": "this-month",
    "last month": "last-month",
    "30 days": "30d",
    "all": "always",
}


class View(Struct, frozen=True, kw_only=True):
    """What a page shows; the empty parts of one are left out.

    said      why there is nothing else: a mistake in the address, or no calls
    filters   which calls it is of, and where each leads to the page without it
    divided   in a file, what each of the dearest names is made of
    """

    title: str
    made: str
    period: str = ""
    said: str = ""
    compared: str = ""
    periods: Sequence[Link] = ()
    filters: Sequence[Link] = ()
    tiles: Sequence[Tile] = ()
    charts: Sequence[Chart] = ()
    rankings: Sequence[Section] = ()
    errors: Table | None = None
    budgets: Table | None = None
    signs: Sequence[Sign] = ()
    divided: Sequence[Section] = ()
    notes: Sequence[str] = ()


def compose(
    found: Numbers, place: str, beside: Beside, notes: Sequence[str], *, is_live: bool
) -> View:
    """The page of these figures; `place` is the host or address whose calls they are of."""
    asked, total = found.asked, found.by_time.total
    links: Links = Addresses(asked) if is_live else Anchors(found.ranked)
    names = [group.key[0] for group in found.ranked["model"].groups]
    colours = drawing.colours(names)
    base = View(
        title=f"AI usage on {printable(place)}",
        made=_moment(found.now_us, asked.period),
        periods=_periods(asked) if is_live else (),
        filters=_filters(asked, is_live=is_live),
        signs=_signs(found, beside.quality),
        budgets=tables.budgets(beside.budgets),
        notes=notes,
        period=days_of(asked.period, found.by_time.ledger),
        said="" if total.calls else _nothing(found),
    )
    if not total.calls:
        return base
    return replace(
        base,
        compared=_compared(found),
        tiles=_tiles(found),
        charts=charts.charts(found, links, colours),
        rankings=tables.rankings(found, links, colours),
        errors=tables.errors(found.by_error),
        divided=tables.divided(found),
    )


def refuse(place: str, said: str, now_us: int, period: Period) -> View:
    """The page that says what is wrong, and leads to those that are right."""
    asked = Asked(period, times=(("since", ""),))  # none of the pages that it leads to
    return View(
        title=f"AI usage on {printable(place)}",
        made=_moment(now_us, period),
        said=printable(said),
        periods=_periods(asked),
    )


def _moment(at_us: int, period: Period) -> str:
    now = local_time(at_us, period.zone)
    return f"{day_name(now)}, {now:%H:%M} {period.zone}"


def _periods(asked: Asked) -> list[Link]:
    said = dict(asked.times)
    since, until = said.get("since", "30d"), said.get("until")
    return [
        Link(text, asked.address(times=_times(name)), (since, until) == (name, _until(name)))
        for text, name in _PERIODS.items()
    ]


def _until(name: str) -> str | None:
    """The end of a period that is over: it is as long as its name says."""
    return name if name.startswith("last-") else None


def _times(name: str) -> dict[str, str]:
    until = _until(name)
    return {"since": name} | ({"until": until} if until else {})


def _filters(asked: Asked, *, is_live: bool) -> list[Link]:
    return [
        Link(
            f"{name} {' or '.join(map(shown, patterns))}",
            asked.widened(name) if is_live else "",
        )
        for name, patterns in asked.filters
    ]


def _nothing(found: Numbers) -> str:
    extent, zone = found.by_time.ledger, found.asked.period.zone
    if extent is None:
        return "No calls yet: prodlensd doctor says what is not wired."
    first, last = (day_name(local_time(at_us, zone)) for at_us in extent)
    which = "No calls pass these filters" if found.asked.filters else "No calls"
    return f"{which} in this time; there are calls from {first} to {last}."


# Headline numbers ---------------------------------------------------------------------------------


def _tiles(found: Numbers) -> list[Tile]:
    now, before = found.by_time.total, found.before.total if found.before else None
    tiles = [
        Tile("Cost", cost(now), _changed(before, now, "cost_nanousd")),
        *_on_plan(before, now),
        Tile("Calls", f"{now.calls:,}", _changed(before, now, "calls")),
        Tile("Failed", percent(now.errors, now.calls), _was(before, _failed)),
        Tile(
            "Input",
            short_count(now.tokens_in or 0),
            _changed(before, now, "tokens_in"),
        ),
        Tile("From the cache", _cached(now), [*_saved(now), *_was(before, _cached)]),
    ]
    if (ms := now.latency_p50_ms) is not None:
        tiles.append(Tile("Latency, p50", latency(ms), _p95(now.latency_p95_ms)))
    if (ms := now.ttft_p50_ms) is not None:
        tiles.append(Tile("First token, p50", latency(ms), _p95(now.ttft_p95_ms)))
    if (month := found.forecast) is not None and (expected := month.expected_text) is not None:
        left, over = counted(month.days_left, "day"), counted(month.days_over, "day")
        said = f"if the {left} left cost what the {over} before did a day"
        tiles.append(Tile("By the end of the month", expected, [said]))
    return tiles


def _on_plan(before: Figures | None, now: Figures) -> list[Tile]:
    """What calls on a plan would have cost, where there are any."""
    if not now.plan_calls:
        return []
    said = [f"{counted(now.plan_calls, 'call')}, in no cost"]
    if now.plan_unpriced_calls:
        said.append(f"{now.plan_unpriced_calls:,} without a price")
    changed = _changed(before, now, "plan_api_nanousd")
    return [Tile("Plan, at API prices", at_api_prices(now), [*said, *changed])]


def _changed(before: Figures | None, now: Figures, figure: str) -> list[str]:
    was = getattr(before, figure, None)
    return [change(was, getattr(now, figure))] if was else []


def _was(before: Figures | None, share: Callable[[Figures], str]) -> list[str]:
    return [f"was {share(before)}"] if before and before.calls else []


def _failed(of: Figures) -> str:
    return percent(of.errors, of.calls)


def _cached(of: Figures) -> str:
    return percent(of.cache_read_tokens or 0, of.tokens_in or 0)


def _saved(of: Figures) -> list[str]:
    return [f"about {money(of.cache_saved_nanousd)} saved"] if of.cache_saved_nanousd else []


def _p95(ms: float | None) -> list[str]:
    return [] if ms is None else [f"p95 {latency(ms)}"]


def _compared(found: Numbers) -> str:
    if found.before is None or not found.before.total.calls:
        return ""
    earlier = found.before.period
    return f"Changes are against {days_of(earlier, (earlier.since_us, earlier.until_us or 0))}."


# How far the data can be relied on ----------------------------------------------------------------


def _signs(found: Numbers, quality: Quality | None) -> list[Sign]:
    total = found.by_time.total
    counts = {"": total.unpriced_calls, " on a plan": total.plan_unpriced_calls}
    said = [f"{counted(count, 'call')}{which}" for which, count in counts.items() if count]
    advice = "prodlensd prices check" if said else ""
    signs = [Sign("Without a price", " and ".join(said) or "none", advice)]
    if quality is None:
        return signs
    seen = quality.last_line_us
    last = "never" if seen is None else _moment(seen, found.asked.period)
    return [
        *signs,
        _sign("Disputed prices", quality.disputed_calls, "prodlensd prices check"),
        _sign("Dead letters", quality.dead_letters, "prodlensd dead-letters list"),
        _sign("Open gaps", quality.open_gaps, "prodlensd verify"),
        _sign("Duplicates left out", quality.duplicates, ""),
        Sign("Last line seen", last),
    ]


def _sign(title: str, count: int, advice: str) -> Sign:
    return Sign(title, f"{count:,}", advice) if count else Sign(title, "none")
