"""The charts of a page, each with what it shows in words, its legend and its table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from prodlensd.answers.page import drawing, tables
from prodlensd.answers.page.drawing import REST, Bar
from prodlensd.answers.page.numbers import Numbers
from prodlensd.answers.page.parts import Cell, Chart, Links, shown
from prodlensd.answers.report import Figures
from prodlensd.answers.wording import cost
from prodlensd.model import NANOUSD_PER_USD
from prodlensd.text import counted, money, percent

_HOURS: Final = tuple(f"{hour:02d}:00" for hour in range(24))
_WEEKDAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


def charts(found: Numbers, links: Links, colours: Mapping[str | None, int]) -> list[Chart]:
    """All charts that have something to show."""
    return [
        _cost(found, links, colours),
        *(chart for chart in (_latency(found, links), _first_token(found, links)) if chart),
        *([chart] if (chart := _cache(found, links)) else []),
        _hours(found),
    ]


def _cost(found: Numbers, links: Links, colours: Mapping[str | None, int]) -> Chart:
    unit, names = found.unit, list(colours)
    costs = {str(group.key[0]): group.figures for group in found.by_time.groups}
    parts = tables.parts_of_bars(found, names)
    most = max((of.cost_nanousd or 0 for of in costs.values()), default=0)
    bars = [
        Bar(tables.bar_name(key), colour, nanousd / NANOUSD_PER_USD)
        for key, of_bar in parts.items()
        for colour, nanousd in zip([*colours.values(), REST], of_bar, strict=True)
        if nanousd
    ]
    ranked = found.ranked["model"]
    legend = [
        Cell(f"{shown(name)} {cost(group.figures)}", links.name("model", name), colours[name])
        for group in ranked.groups
        if (name := group.key[0]) in colours
    ]
    if others := len(ranked.groups) + ranked.more_groups - len(names):
        legend.append(Cell(counted(others, "other model"), None, REST))
    cut = f" These are the last {len(parts):,} alone." if len(costs) > len(parts) else ""
    return Chart(
        "cost",
        f"Cost {'an' if unit == 'hour' else 'a'} {unit}",
        f"Cost by model; the dearest {unit} cost {money(most)}.{cut}",
        drawing.stacked([*map(tables.bar_name, found.bars)], bars, _dollars(most)),
        tables.by_model(found, links, names, has_others=others > 0),
        legend,
    )


def _dollars(most_nanousd: int) -> str:
    """How an axis up to this shows dollars."""
    if most_nanousd >= 5 * NANOUSD_PER_USD:
        return "$,.0f"
    return "$,.2f" if most_nanousd >= NANOUSD_PER_USD // 10 else "$,~f"


def _latency(found: Numbers, links: Links) -> Chart | None:
    return _times(
        found, links, "latency", "Latency",
        {"p50": lambda of: of.latency_p50_ms, "p95": lambda of: of.latency_p95_ms},
    )  # fmt: skip


def _first_token(found: Numbers, links: Links) -> Chart | None:
    return _times(
        found, links, "first-token", "Time to first token",
        {"p50": lambda of: of.ttft_p50_ms, "p95": lambda of: of.ttft_p95_ms},
    )  # fmt: skip


def _times(
    found: Numbers,
    links: Links,
    name: str,
    title: str,
    of: Mapping[str, Callable[[Figures], float | None]],
) -> Chart | None:
    """Percentiles over time; None where no call carries one."""
    total = {line: value(found.by_time.total) for line, value in of.items()}
    if total["p50"] is None:
        return None
    said = " and ".join(f"{line} {tables.time_cell(ms)}" for line, ms in total.items())
    series = {
        line: [None if ms is None else ms / 1000 for ms in _series(found, value)]
        for line, value in of.items()
    }
    columns = {line: _timed(value) for line, value in of.items()}
    return Chart(
        name,
        f"{title}, seconds",
        f"{title} of successful calls: {said} over all.",
        [drawing.lines([*map(tables.bar_name, found.bars)], series, "~g")],
        tables.over_time(found, links, columns),
        [(line, f"{line} {tables.time_cell(ms)}") for line, ms in total.items()],
    )


def _timed(value: Callable[[Figures], float | None]) -> Callable[[Figures], str]:
    return lambda figures: tables.time_cell(value(figures))


def _series(found: Numbers, value: Callable[[Figures], float | None]) -> Sequence[float | None]:
    groups = {group.key[0]: value(group.figures) for group in found.by_time.groups}
    return [groups.get(key) for key in found.bars]


def _cache(found: Numbers, links: Links) -> Chart | None:
    """The share of the input that came from a cache; None where nothing did."""
    total = found.by_time.total
    if not total.cache_read_tokens:
        return None

    def share(of: Figures) -> float | None:
        return (of.cache_read_tokens or 0) / of.tokens_in if of.tokens_in else None

    return Chart(
        "cache",
        "Input from the cache",
        f"{percent(total.cache_read_tokens, total.tokens_in or 0)} of all input tokens.",
        [drawing.lines([*map(tables.bar_name, found.bars)], {"p50": _series(found, share)}, ".0%")],
        tables.over_time(
            found,
            links,
            {
                "input": lambda of: f"{of.tokens_in or 0:,}",
                "from the cache": lambda of: f"{of.cache_read_tokens or 0:,}",
                "share": lambda of: percent(of.cache_read_tokens or 0, of.tokens_in or 0),
                "saved": lambda of: (
                    "-" if of.cache_saved_nanousd is None else money(of.cache_saved_nanousd)
                ),
            },
        ),
    )


def _hours(found: Numbers) -> Chart:
    counts = {
        (str(weekday), str(hour)): group.figures.calls
        for group in found.by_hour.groups
        for weekday, hour in [group.key]
    }
    (weekday, hour), most = max(counts.items(), key=lambda item: item[1])
    return Chart(
        "hours",
        f"Calls by hour and weekday, {found.asked.period.zone}",
        f"Most were on {weekday} from {hour}: {counted(most, 'call')}.",
        [drawing.heat(_WEEKDAYS, _HOURS, counts)],
        tables.by_hour(_WEEKDAYS, _HOURS, counts),
    )
