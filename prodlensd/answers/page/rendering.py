"""A page as HTML: one file that needs no other, runs no script, and may load nothing.

Its policy lets the browser use the one style sheet that stands in it, by its digest, and no more.
"""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any, Final

from prodlensd.answers.page.view import View

if TYPE_CHECKING:
    from jinja2 import Template

_HERE: Final = "prodlensd.answers.page"


def html(page: View) -> str:
    """The page as a file, whose last line ends."""
    text: str = _template().render(page=page, style=_safe(_style()), policy=policy())
    return text + "\n"


def policy() -> str:
    """What a browser may do with a page (Content-Security-Policy): nothing but show it."""
    digest = base64.b64encode(hashlib.sha256(_style().encode()).digest()).decode()
    return (
        f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


@cache
def _template() -> Template:
    from jinja2 import Environment, StrictUndefined  # noqa: PLC0415 - of the extra `html`

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    return environment.from_string(_text("page.html.jinja"))


@cache
def _style() -> str:
    return "\n" + _text("page.css")


def _safe(text: str) -> Any:  # noqa: ANN401 - markupsafe's own
    from markupsafe import Markup  # noqa: PLC0415 - of the extra `html`

    return Markup(text)  # noqa: S704 - our own style sheet


def _text(name: str) -> str:
    return resources.files(_HERE).joinpath(name).read_text(encoding="utf-8")
