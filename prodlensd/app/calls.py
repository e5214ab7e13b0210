"""All calls of a configuration, or of a published folder or bucket, as one table."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date

from prodlensd.answers.calls import ALWAYS_US, FOREVER_US, Calls, Where, open_calls
from prodlensd.answers.published import open_published
from prodlensd.config import Config


def where(config: Config) -> Where:
    """Where all calls of this configuration are."""
    return Where(config.store.path, config.parquet.directory)


@contextmanager
def opened(
    config: Config, url: str | None, since_us: int = ALWAYS_US, until_us: int = FOREVER_US
) -> Iterator[tuple[Calls, dict[str, date]]]:
    """The calls of this machine, or those at a published address, of this time at least.

    With the hosts there that are behind the others, and their last day. Raises OperationalError.
    """
    if url is None:
        with open_calls(where(config)._replace(since_us=since_us, until_us=until_us)) as calls:
            yield calls, {}
    else:
        with open_published(url, since_us, until_us) as published:
            yield published, published.behind()
