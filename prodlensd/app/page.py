"""The page of a configuration's calls: as a file, and as the daemon serves it at `/`."""

from __future__ import annotations

from datetime import date
from http import HTTPStatus

from prodlensd.answers import page
from prodlensd.answers.facts import gather
from prodlensd.answers.periods import Period, read_period
from prodlensd.answers.questions import Filter
from prodlensd.app.budgets import budgets
from prodlensd.app.calls import opened
from prodlensd.app.ledger import reading
from prodlensd.app.zone import time_zone
from prodlensd.config import Config
from prodlensd.daemon import Answer, answer_each
from prodlensd.model import OperationalError
from prodlensd.moments import now_us
from prodlensd.text import printable

#: How many names a ranking of a served page has.
_TOP = 10


def file(
    config: Config,
    period: Period,
    filters: tuple[Filter, ...],
    at_us: int,
    *,
    url: str | None,
    top: int,
) -> str:
    """The page as HTML that stands alone. Raises OperationalError."""
    asked = page.Asked(period, filters)
    if missing := page.what_is_missing():
        raise OperationalError(missing)
    found, behind = _numbers(config, asked, at_us, url, is_divided=True, top=top)
    beside = page.Beside() if url else _beside(config, at_us)
    notes = [
        f"{printable(host)} is behind: its last day here is {day}" for host, day in behind.items()
    ]
    return page.html(page.compose(found, url or config.host, beside, notes, is_live=False))


def serve(config: Config) -> None:
    """Answers the daemon's questions, which come on standard input (see `daemon.pages`)."""
    answer_each(lambda query: served(config, query))


def served(config: Config, query: str) -> Answer:
    """The page of an address, or what is wrong with it."""
    if missing := page.what_is_missing():
        return Answer(f"{missing}\n".encode(), status=HTTPStatus.NOT_IMPLEMENTED)
    at_us = now_us()
    try:
        asked = page.read_address(query, time_zone, at_us)
        found, _ = _numbers(config, asked, at_us, None, is_divided=False, top=_TOP)
        beside = _beside(config, at_us)
    except ValueError as error:
        status, said = HTTPStatus.BAD_REQUEST, str(error)
    except OperationalError as error:
        status, said = HTTPStatus.SERVICE_UNAVAILABLE, str(error)
    else:
        return _answer(page.compose(found, config.host, beside, (), is_live=True), HTTPStatus.OK)
    usual = read_period(None, None, (), time_zone(None), at_us)
    return _answer(page.refuse(config.host, said, at_us, usual), status)


def _answer(shown: page.View, status: HTTPStatus) -> Answer:
    headers = (
        ("Content-Security-Policy", f"{page.policy()}; frame-ancestors 'none'"),
        ("Referrer-Policy", "no-referrer"),
        ("Cross-Origin-Resource-Policy", "same-origin"),
    )
    return Answer(page.html(shown).encode(), "text/html; charset=utf-8", status, headers)


def _numbers(
    config: Config, asked: page.Asked, at_us: int, url: str | None, *, is_divided: bool, top: int
) -> tuple[page.Numbers, dict[str, date]]:
    with opened(config, url, *page.span_of(asked, at_us)) as (calls, behind):
        return page.ask(calls, asked, at_us, is_divided=is_divided, top=top), behind


def _beside(config: Config, at_us: int) -> page.Beside:
    with reading(config) as reader, reader.one_moment():
        facts = gather(reader, config.store.path, at_us, budgets=budgets(config))
        return page.Beside(page.Quality.of(facts), facts.budgets)
