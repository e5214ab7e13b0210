"""The metrics of a configuration's ledger: as text, in a file, over HTTP.

The Prometheus library is loaded only when there are metrics to make.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING

from prodlensd.app.budgets import budgets
from prodlensd.config import Config
from prodlensd.durable import replacing
from prodlensd.moments import now_us

if TYPE_CHECKING:  # `status` does not need it
    from structlog.typing import FilteringBoundLogger


def exposition(config: Config) -> bytes:
    """All metrics in Prometheus' text format."""
    from prodlensd.answers import metrics  # noqa: PLC0415 - loads prometheus_client

    return metrics.exposition(
        config.store.path,
        now_us=now_us(),
        stalled_s=config.status.heartbeat_critical_s,
        budgets=budgets(config),
    )


def write_textfile(path: Path, text: bytes) -> None:
    """Writes the file whole or not at all, for all to read: node_exporter is another user.

    Raises OSError. Until it has its name it has one that node_exporter does not read.
    """
    with replacing(path, 0o644) as file:
        file.write(text)


@contextmanager
def http_server(config: Config, log: FilteringBoundLogger) -> Iterator[None]:
    """Serves `/metrics` and `/healthz` at http.listen, or nothing where that is empty.

    An address that is taken is only logged: the ledger matters more than its metrics.
    """
    address = config.http.address
    if address is None:
        yield
        return
    from prodlensd.answers import metrics  # noqa: PLC0415 - loads prometheus_client
    from prodlensd.daemon import Answer, serving  # noqa: PLC0415 - `status` needs no daemon

    def all_metrics() -> Answer:
        return Answer(exposition(config), "text/plain; version=0.0.4; charset=utf-8")

    def healthz() -> Answer:
        why = metrics.why_unhealthy(
            config.store.path,
            now_us=now_us(),
            stalled_s=config.status.heartbeat_critical_s,
        )
        if why is None:
            return Answer(b"ok\n")
        return Answer(f"{why}\n".encode(), status=HTTPStatus.SERVICE_UNAVAILABLE)

    with ExitStack() as stack:
        try:
            host, port = stack.enter_context(
                serving(address, {"/metrics": all_metrics, "/healthz": healthz})
            )
        except (OSError, RuntimeError) as error:  # no thread left is a RuntimeError
            log.error("cannot serve metrics", listen=config.http.listen, fault=str(error))
        else:
            log.info("serving metrics", host=host, port=port)
        yield
