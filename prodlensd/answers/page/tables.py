"""The tables of a page: rankings, errors, and what each chart is drawn of."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import Final

from prodlensd.answers.budgets import Standing
from prodlensd.answers.page.numbers import RANKED, Numbers
from prodlensd.answers.page.parts import Cell, Links, Section, Table, anchor, shown
from prodlensd.answers.report import Figures, Group, Report
from prodlensd.answers.wording import at_api_prices, cost, has_claims, has_cost
from prodlensd.text import latency, money, percent

TITLES: Final = {
    "developer": "Developers",
    "team": "Teams",
    "repo": "Repositories",
    "model": "Models",
    "session": "Sessions",
    "source": "Sources",
}
#: What a table may say of calls; with their share of the cost behind it.
_COLUMNS: Final[Mapping[str, Callable[[Figures], str]]] = {
    "calls": lambda of: f"{of.calls:,}",
    "failed": lambda of: percent(of.errors, of.calls),
    "cached": lambda of: percent(of.cache_read_tokens or 0, of.tokens_in or 0),
    "cost": cost,
    "plan at API": at_api_prices,
}
_OF_CALLS: Final = ("calls", "failed", "cached", "cost")
#: Where some calls are on a plan: agents note no failures, and there is room for one of the two.
_OF_PLAN: Final = ("calls", "cached", "cost", "plan at API")
#: The columns that a phone has no room for.
_LEAST: Final = ("failed", "cached")
_CLAIMED: Final = "Some of these names are what a caller claims, and no key vouches for them."
#: Of what a name is made of.
_MOST_ROWS: Final = 15


def rankings(found: Numbers, links: Links, colours: Mapping[str | None, int]) -> list[Section]:
    """The dearest names of each kind that has names."""
    return [
        Section(
            f"by-{by}",
            TITLES[by],
            _ranking(by, report, links, colours if by == "model" else {}),
            _CLAIMED if has_claims(report) else "",
        )
        for by, report in found.ranked.items()
        if any(group.key[0] is not None for group in report.groups)
    ]


def _ranking(by: str, found: Report, links: Links, colours: Mapping[str | None, int]) -> Table:
    columns, total = _columns(by, found.total), found.total
    groups = [(group.key[0], group.figures) for group in found.groups]
    rows = [
        [
            Cell(shown(name), links.name(by, name), colours.get(name)),
            *_of_calls(columns, figures, total, [of for _, of in groups]),
        ]
        for name, figures in groups
    ]
    if found.rest is not None:
        more = Cell(f"({found.more_groups:,} more)")
        rows.append([more, *_of_calls(columns, found.rest, total)])
    return _table(by, columns, rows, total)


def _columns(by: str, total: Figures) -> Sequence[str]:
    return _OF_PLAN if by == "source" and total.plan_calls else _OF_CALLS


def _table(by: str, columns: Sequence[str], rows: list[list[Cell]], total: Figures) -> Table:
    rows.append([Cell("total"), *_of_calls(columns, total, total)])
    titles = ["repository" if by == "repo" else by, *columns, "share"]
    least = [titles.index(name) for name in _LEAST if name in titles]
    return Table(titles, rows, has_total=True, least=least)


def _of_calls(
    columns: Sequence[str], figures: Figures, total: Figures, compared: Sequence[Figures] = ()
) -> list[Cell]:
    """These columns, and the share of the cost with a bar beside those it is compared with."""
    dearest = max((of.cost_nanousd or 0 for of in compared), default=0)
    share = percent(figures.cost_nanousd or 0, total.cost_nanousd or 0)
    return [
        *(Cell(_COLUMNS[column](figures)) for column in columns),
        Cell(
            share if has_cost(figures) else "-",
            bar=(figures.cost_nanousd or 0) / dearest if dearest else None,
        ),
    ]


def divided(found: Numbers) -> list[Section]:
    """For a file: what each of the dearest names is made of."""
    return [
        Section(
            anchor(by, place),
            f"{TITLES[by][:-1] if by != 'repo' else 'Repository'} {shown(group.key[0])}",
            _parts_of(group, by, report),
        )
        for by, report in found.divided.items()
        for place, group in enumerate(found.ranked[by].groups)
    ]


def _parts_of(ranked: Group, by: str, found: Report) -> Table:
    total = ranked.figures
    columns = _columns(by, total)
    groups = [group for group in found.groups if group.key[0] == ranked.key[0]][:_MOST_ROWS]
    compared = [group.figures for group in groups]
    rows = [
        [Cell(shown(group.key[1])), *_of_calls(columns, group.figures, total, compared)]
        for group in groups
    ]
    if others := total.calls - sum(of.calls for of in compared):
        nanousd = (total.cost_nanousd or 0) - sum(of.cost_nanousd or 0 for of in compared)
        known = {"calls": f"{others:,}", "cost": money(nanousd)}
        share = percent(nanousd, total.cost_nanousd or 0)
        numbers = [*(known.get(column, "") for column in columns), share]
        rows.append([Cell("others"), *map(Cell, numbers)])
    return _table(RANKED[by], columns, rows, total)


def errors(found: Report) -> Table | None:
    """What failed, by kind; None where nothing did."""
    failed = [group for group in found.groups if group.figures.errors]
    most = max((group.figures.errors for group in failed), default=0)
    all_errors = found.total.errors
    rows = [
        [
            Cell(shown(group.key[0])),
            Cell(f"{group.figures.errors:,}"),
            Cell(
                percent(group.figures.errors, found.total.errors), bar=group.figures.errors / most
            ),
        ]
        for group in failed
    ]
    if found.rest is not None and found.rest.errors:
        rest = [f"({found.more_groups:,} more)", f"{found.rest.errors:,}"]
        rows.append([*map(Cell, [*rest, percent(found.rest.errors, all_errors)])])
    return Table(["error", "failed calls", "share"], rows) if rows else None


def budgets(found: Sequence[Standing]) -> Table | None:
    """How each budget stands in its running period; None where there is none."""
    rows = []
    for each in found:
        budget, period = each.budget, bar_name(each.period, is_whole=True)
        rows.append(
            [
                Cell(f"{shown(budget.name)}: {shown(budget.whose)} in {period}"),
                Cell(each.spent_text),
                Cell(money(budget.limit_nanousd)),
                Cell(each.share_text, bar=min(each.share, 1.0), state=each.state),
                Cell(each.expected_text),
                Cell(each.state, state=each.state),
            ]
        )
    titles = ["budget", "spent", "limit", "share", "by the end", "state"]
    return Table(titles, rows, least=(2, 4)) if rows else None


# What charts are drawn of -------------------------------------------------------------------------


def parts_of_bars(found: Numbers, names: Sequence[str | None]) -> dict[str, list[int]]:
    """The cost of each bar in nano-USD: of each of these models, and of all others together."""
    groups = {group.key: group.figures.cost_nanousd or 0 for group in found.by_model.groups}
    totals = {group.key[0]: group.figures.cost_nanousd or 0 for group in found.by_time.groups}
    parts = {}
    for key in found.bars:
        of = [groups.get((name, key), 0) for name in names]
        parts[key] = [*of, totals.get(key, 0) - sum(of)]
    return parts


def by_model(
    found: Numbers, links: Links, names: Sequence[str | None], *, has_others: bool
) -> Table:
    """The cost of each bar, of each model that has a colour, and of all others together."""
    groups = {group.key: group.figures for group in found.by_model.groups}
    totals = {group.key[0]: group.figures for group in found.by_time.groups}
    parts = parts_of_bars(found, names)
    rows = []
    for key in found.bars:
        of = [totals.get(key), *(groups.get((name, key)) for name in names)]
        cells = [Cell(cost(figures) if figures else "") for figures in of]
        others = [Cell(money(parts[key][-1]) if parts[key][-1] else "")] if has_others else []
        rows.append([bar_cell(key, links), *cells, *others])
    titles = [found.unit, "all", *map(shown, names), *(["other models"] if has_others else [])]
    return Table(titles, rows)


def over_time(
    found: Numbers, links: Links, columns: Mapping[str, Callable[[Figures], str]]
) -> Table:
    """A row for each bar that has calls."""
    groups = {group.key[0]: group.figures for group in found.by_time.groups}
    rows = [
        [bar_cell(key, links), *(Cell(column(groups[key])) for column in columns.values())]
        for key in found.bars
        if key in groups
    ]
    return Table([found.unit, *columns], rows)


def by_hour(
    rows: Sequence[str], columns: Sequence[str], counts: Mapping[tuple[str, str], int]
) -> Table:
    """The calls of each hour of the week."""
    cells = [
        [Cell(row), *(Cell(f"{counts.get((row, column), 0) or ''}") for column in columns)]
        for row in rows
    ]
    return Table(["", *columns], cells)


def bar_cell(key: str, links: Links) -> Cell:
    """The hour, day, week or month of a row."""
    return Cell(bar_name(key, is_whole=True), links.bar(key))


def bar_name(key: str, *, is_whole: bool = False) -> str:
    """An hour, day, week or month as people read it; whole, with its year."""
    if ":" in key or "W" in key:
        return key
    if key.count("-") == 1:
        first = date.fromisoformat(f"{key}-01")
        return f"{first:%b %Y}"
    day = date.fromisoformat(key)
    return f"{day.day} {day:%b %Y}" if is_whole else f"{day.day} {day:%b}"


def time_cell(ms: float | None) -> str:
    """How long something took."""
    return "-" if ms is None else latency(ms)
