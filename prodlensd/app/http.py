"""What a configuration's daemon serves over HTTP: the page, the metrics, its health."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from http import HTTPStatus
from pathlib import Path

from structlog.typing import FilteringBoundLogger

from prodlensd import child
from prodlensd.app.metrics import exposition
from prodlensd.config import Config
from prodlensd.daemon import Answer, Pages, serving
from prodlensd.moments import now_us


@contextmanager
def http_server(
    config: Config, path: Path | None, log: FilteringBoundLogger
) -> Iterator[Callable[[], None]]:
    """Serves `/`, `/metrics` and `/healthz` at http.listen, or nothing where that is empty.

    Yields what is to be called now and then: it ends the process that makes pages when nobody looks
    any more. `path` is where that process reads the configuration. An address that is taken is only
    logged: the ledger matters more.
    """
    address = config.http.address
    if address is None:
        yield lambda: None
        return
    pages = Pages(partial(_start, path))
    routes = {
        "/": partial(_page, pages, log),
        "/metrics": partial(_metrics, config),
        "/healthz": partial(_healthz, config),
    }
    with ExitStack() as stack:
        try:
            host, port = stack.enter_context(serving(address, routes))
        except (OSError, RuntimeError) as error:  # no thread left is a RuntimeError
            log.error("cannot listen for HTTP", listen=config.http.listen, fault=str(error))
        else:
            log.info("serving HTTP", host=host, port=port)
            stack.callback(pages.close)  # before the server waits for those that it answers
        yield pages.rest


def _start(path: Path | None) -> subprocess.Popen[bytes]:
    """Starts the process that makes pages (`prodlensd page`). Raises OSError."""
    options = [] if path is None else ["--config", str(path)]
    return child.start(
        "page", *options, stdin=subprocess.PIPE, stdout=subprocess.PIPE, is_own_session=True
    )


def _page(pages: Pages, log: FilteringBoundLogger, query: str) -> Answer:
    try:
        return pages.page(query)
    except OSError as error:
        log.warning("cannot make a page", fault=str(error))
        said = f"{error}: try again, or ask for a shorter time\n"
        return Answer(said.encode(), status=HTTPStatus.SERVICE_UNAVAILABLE)


def _metrics(config: Config, _query: str) -> Answer:
    return Answer(exposition(config), "text/plain; version=0.0.4; charset=utf-8")


def _healthz(config: Config, _query: str) -> Answer:
    from prodlensd.answers import metrics  # noqa: PLC0415 - loads prometheus_client

    why = metrics.why_unhealthy(
        config.store.path, now_us=now_us(), stalled_s=config.status.heartbeat_critical_s
    )
    if why is None:
        return Answer(b"ok\n")
    return Answer(f"{why}\n".encode(), status=HTTPStatus.SERVICE_UNAVAILABLE)
