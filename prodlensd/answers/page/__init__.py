"""The page: what the calls of a time cost and how they went, as one HTML file without script.

Its figures are reports'. What draws it (Vega-Lite by vl-convert, jinja2) comes with the extra
`html`, and is loaded when a page is made.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Final

from prodlensd.answers.page.address import Asked, read_address
from prodlensd.answers.page.numbers import Beside, Numbers, Quality, ask, span_of
from prodlensd.answers.page.rendering import html, policy
from prodlensd.answers.page.view import View, compose, refuse

__all__ = [
    "Asked",
    "Beside",
    "Numbers",
    "Quality",
    "View",
    "ask",
    "compose",
    "html",
    "policy",
    "read_address",
    "refuse",
    "span_of",
    "what_is_missing",
]

_PACKAGES: Final = {"jinja2": "jinja2", "vl_convert": "vl-convert-python"}


def what_is_missing() -> str | None:
    """What to install before a page can be made; None when nothing is."""
    missing = [package for module, package in _PACKAGES.items() if find_spec(module) is None]
    if not missing:
        return None
    packages = " ".join(missing)
    return (
        f"a page needs {' and '.join(missing)}: pipx inject prodlensd {packages} (or, in the "
        f"environment that it runs in, pip install {packages})"
    )
