"""What is to be told to the notify.webhook of a configuration."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import structlog

from prodlensd.answers.gauges import OK, worst_of
from prodlensd.app.due import stand
from prodlensd.app.ledger import reading, writing
from prodlensd.app.status import health
from prodlensd.config import Config
from prodlensd.daemon import configure_log
from prodlensd.jobs import notifying
from prodlensd.jobs.notifying import NotifyError, of_budgets, of_health
from prodlensd.jobs.posting import post
from prodlensd.ledger import Telling
from prodlensd.model import OperationalError, TemporaryError
from prodlensd.moments import now_us


def notify(config: Config, *, is_logged: bool) -> Iterator[str]:
    """Tells what is to be told; yields the text of each message that was taken.

    Raises TemporaryError when one was not, or OperationalError. With `is_logged`, the first failure
    and the first success after it are logged.
    """
    configure_log(config.log.level)
    log = structlog.get_logger()
    webhook = _webhook(config)
    found = health(config)
    with writing(config) as ledger, reading(config) as reader:
        told, failed = reader.told.states(), reader.told.failed()
        budgets = [] if found.facts is None else found.facts.budgets
        checks = [check for check in found.checks if check.name != "budgets"]
        bad = {check.name: check.state for check in checks if check.state != OK}
        messages = [
            *of_budgets(told, map(stand, budgets)),
            *of_health(told, worst_of(*checks), bad),
        ]
        telling = notifying.tell(
            messages, Telling(ledger), failed, post=partial(_post, config, webhook), now=now_us
        )
        try:
            for message in telling:
                yield str(message.content["text"])
        except NotifyError as error:
            if is_logged and failed is None:
                log.warning("cannot notify just now; will keep trying", fault=str(error))
            raise TemporaryError(f"cannot notify: {error}") from error
        if is_logged and failed is not None:
            log.info("notifying again")


def send_test(config: Config) -> None:
    """Sends a message that means nothing. Raises OperationalError."""
    try:
        _post(config, _webhook(config), {"kind": "test", "text": "this is a test"})
    except OSError as error:
        raise TemporaryError(f"cannot notify: {error}") from error


def _webhook(config: Config) -> str:
    if not config.notify.webhook:
        raise OperationalError("notify.webhook is not set: there is nobody to tell")
    return config.notify.webhook


def _post(config: Config, webhook: str, content: Mapping[str, Any]) -> None:
    text = f"prodlensd on {config.host}: {content['text']}"
    head = {"schema": "prodlensd.notification/1", "host": config.host}
    post(webhook, {**head, **content, "text": text})
