"""`prodlensd` alone: what somebody wants to know first."""

from __future__ import annotations

from datetime import tzinfo
from itertools import chain, zip_longest
from pathlib import Path
from typing import Final

import click

from prodlensd.answers.overview import Overview, Stretch
from prodlensd.answers.periods import local_time
from prodlensd.answers.questions import NONE
from prodlensd.answers.report import Figures, Group
from prodlensd.answers.wording import at_api_prices, cost
from prodlensd.app import overview as overviews
from prodlensd.app.overview import Seen
from prodlensd.app.zone import time_zone
from prodlensd.cli import errors_end_it, load_config, say_behind
from prodlensd.cli.budget import table as budget_table
from prodlensd.cli.report_columns import COLUMNS
from prodlensd.cli.tables import NAME_CELLS, drawn
from prodlensd.moments import now_us
from prodlensd.text import Cell, Column, counted, money, percent, printable, short_money

_SPARKS: Final = "▁▂▃▄▅▆▇█"
_TITLES: Final = {
    "developer": "top developers",
    "model": "top models",
    "repo": "top repositories",
}


def show(config_path: Path | None, url: str | None) -> None:
    """Prints the overview, of this machine or of what is published at the address."""
    config, zone, at_us = load_config(config_path), time_zone(None), now_us()
    with errors_end_it():
        seen = overviews.overview(config, at_us, zone, url)
    click.echo("\n".join(lines(url or config.host, seen, at_us, zone)))
    say_behind(seen.behind)


def lines(place: str, seen: Seen, at_us: int, zone: tzinfo) -> list[str]:
    """The overview of this place, as lines for people."""
    found, budgets = seen.overview, seen.budgets
    now = local_time(at_us, zone)
    title = f"AI usage on {printable(place)}"
    moment = f"{now.day} {now:%b %Y, %H:%M} {zone}"
    said = [click.style(f"{title:<{79 - len(moment)}}{moment}", bold=True), ""]
    if found.ledger is None:
        return [*said, "no calls yet: prodlensd doctor says what is not wired"]
    today = found.today.now
    sparks, failed = _spark(found.hours), percent(today.errors, today.calls)
    said += [
        _line("today", today, f"{sparks}  {failed} failed" if today.calls else ""),
        _line("this week", found.week.now, _change(found.week, "last week")),
        _line(f"{now:%B}", found.month.now, _change(found.month, "the month before")),
        *_notes(found),
        *(["", budget_table(budgets)] if budgets else []),
        "",
        *_tops(found),
    ]
    return said


def _line(name: str, figures: Figures, more: str) -> str:
    calls = counted(figures.calls, "call")
    return f"{name:<11}{cost(figures):>12}  {calls:>13}   {more}".rstrip()


def _change(stretch: Stretch, earlier: str) -> str:
    before, now = stretch.before.cost_nanousd, stretch.now.cost_nanousd or 0
    if not before:
        return f"no cost {earlier}"
    return f"{100 * (now - before) / before:+.0f} % on {earlier}".replace("-", "–")  # noqa: RUF001


def _spark(counts: tuple[int, ...]) -> str:
    """A bar for each hour; a hour without calls is a space."""
    most = max(counts, default=0) or 1
    return "".join(
        _SPARKS[round(count / most * (len(_SPARKS) - 1))] if count else " " for count in counts
    ).rstrip()


def _notes(found: Overview) -> list[str]:
    """What of the month is worth a word."""
    month, notes = found.month.now, []
    if any(stretch.plan_calls for stretch in (found.today.now, found.week.now, month)):
        notes.append(f"{'plan':<11}{_on_plan(found)}")
    costs_nothing = month.plan_calls and not found.forecast.expected_nanousd
    if (expected := found.forecast.expected_text) is not None and not costs_nothing:
        notes.append(f"{'forecast':<11}about {expected} at the end of the month")
    if month.cache_read_tokens and month.tokens_in:
        share = percent(month.cache_read_tokens, month.tokens_in)
        saved = month.cache_saved_nanousd
        more = f": about {money(saved)} saved" if saved else ""
        notes.append(f"{'cache':<11}{share} of the input came from the cache{more}")
    if models := found.unpriced_models:
        on_plan = month.plan_unpriced_calls
        of = f"{counted(month.unpriced_calls + on_plan, 'call')} of {counted(models, 'model')}"
        of += f", {on_plan:,} on a plan" if on_plan else ""
        notes.append(f"{'unpriced':<11}{of}: prodlensd prices check")
    return notes


def _on_plan(found: Overview) -> str:
    stretches = {"today": found.today, "this week": found.week, "this month": found.month}
    said = (
        f"{at_api_prices(stretch.now)} {name}"
        for name, stretch in stretches.items()
        if stretch.now.plan_calls
    )
    return f"at API prices {', '.join(said)}"


def _tops(found: Overview) -> list[str]:
    """The dearest names of the month, side by side."""
    shown = {by: groups for by, groups in found.top.items() if _is_named(groups)}
    columns = [
        column
        for by in shown
        for column in (Column(_TITLES[by], least_cells=NAME_CELLS), Column("", "right"))
    ]
    rows = zip_longest(*(map(_top, groups) for groups in shown.values()), fillvalue=("", ""))
    return [drawn(columns, [[*chain.from_iterable(row)] for row in rows])] if shown else []


def _is_named(groups: tuple[Group, ...]) -> bool:
    return any(group.key[0] is not None for group in groups)


def _top(group: Group) -> tuple[Cell, Cell]:
    figures = group.figures
    if figures.plan_calls and not figures.cost_nanousd:
        return group.key[0] or NONE, f"plan {at_api_prices(figures, short_money)}"
    return group.key[0] or NONE, COLUMNS["cost"].cell(figures, figures)
