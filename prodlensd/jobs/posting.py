"""One POST of JSON to a webhook: no redirect is followed, and nothing of the answer is kept."""

from __future__ import annotations

from collections.abc import Mapping
from threading import Thread
from typing import Any, Final
from urllib.error import HTTPError, URLError
from urllib.request import HTTPRedirectHandler, Request, build_opener

import orjson

from prodlensd import __version__

#: All in all: each step of a slow answer would have a time of its own.
TIMEOUT_S: Final = 10.0


class _NoRedirect(HTTPRedirectHandler):
    """Takes a redirect for a refusal: it may lead anywhere."""

    def redirect_request(self, *_: object) -> None:
        return None


def post(url: str, content: Mapping[str, Any], *, timeout_s: float = TIMEOUT_S) -> None:
    """Posts it. Raises OSError, whose text does not hold the address: it may be a secret."""
    asked = _Asked(url, orjson.dumps(content), timeout_s)
    asked.start()
    asked.join(timeout_s)
    if asked.fault is not None:
        raise OSError(asked.fault)


class _Asked(Thread):
    """The request, in a thread that may be left behind. The mutable state: what is wrong so far."""

    def __init__(self, url: str, body: bytes, timeout_s: float) -> None:
        super().__init__(daemon=True)
        headers = {"Content-Type": "application/json", "User-Agent": f"prodlensd/{__version__}"}
        self._request = Request(url, body, headers)  # noqa: S310 - http or https, see config
        self._timeout_s = timeout_s
        self.fault: str | None = f"the webhook does not answer within {timeout_s:g} s"

    def run(self) -> None:
        try:
            with build_opener(_NoRedirect).open(self._request, timeout=self._timeout_s):
                self.fault = None
        except HTTPError as error:
            with error:
                self.fault = f"the webhook says {error.code}"
                if 300 <= error.code < 400:  # noqa: PLR2004
                    self.fault += ", and no redirect is followed"
        except TimeoutError:
            pass
        except URLError as error:
            if not isinstance(error.reason, TimeoutError):
                why = getattr(error.reason, "strerror", None) or type(error.reason).__name__
                self.fault = f"the webhook cannot be reached: {why}"
        except OSError as error:
            self.fault = f"the webhook breaks off: {error.strerror or type(error).__name__}"
        except Exception as error:  # noqa: BLE001 - what http.client says of nonsense
            self.fault = f"the webhook does not speak HTTP: {type(error).__name__}"
