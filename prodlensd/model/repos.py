"""How a repository is named: `owner/name`, whoever tells of it."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

#: Longer names are not names: a session, developer or repository this long is a misplaced payload.
MAX_TEXT_CHARS: Final = 512

_SLUG: Final = re.compile(r"([A-Za-z0-9._-]{1,100})/([A-Za-z0-9._-]{1,100}?)(?:\.git)?\Z")
_GIT_ADDRESS: Final = re.compile(
    r"(?:(?:https?|ssh|git)://(?:[^/@\s]*@)?[A-Za-z0-9.-]+(?::[0-9]+)?/"
    r"|[A-Za-z0-9._-]+@[A-Za-z0-9.-]+:)(.+?)/?\Z"
)


def repo_slug(value: object) -> str | None:
    """`owner/name` of a slug or a git address (https, ssh, scp-like, with or without .git)."""
    return _repo_slug(value) if type(value) is str and len(value) <= MAX_TEXT_CHARS else None


@lru_cache(maxsize=4096)
def _repo_slug(value: str) -> str | None:
    value = value.strip()
    if address := _GIT_ADDRESS.match(value):
        value = address[1]
    slug = _SLUG.match(value)
    if slug is None or slug[1] in {".", ".."} or slug[2] in {".", "..", ".git"}:
        return None
    return f"{slug[1]}/{slug[2]}"
