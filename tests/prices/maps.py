"""LiteLLM's price maps, out of its wheels, which pip fetches; each is kept in .cache."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any, Final

_PROJECT: Final = Path(__file__).parents[2]
_CACHE: Final = Path(os.environ.get("PRODLENSD_TEST_VENVS") or _PROJECT / ".cache") / "litellm-maps"
_MAP: Final = "litellm/model_prices_and_context_window_backup.json"
#: The version that our prices are compared with, and the day before which it was published.
PINNED: Final = "1.110.2"
PINNED_DAY: Final = "2026-11-22"

Entries = dict[str, dict[str, Any]]


def days() -> list[str]:
    """The days of which we know the newest map: two a month, and the last."""
    months = [f"{year}-{month:02}" for year in (2025, 2026) for month in range(1, 13)]
    halves = [f"{month}-{day}" for month in months for day in ("01", "15")]
    return [day for day in halves if "2025-06" <= day < PINNED_DAY] + [PINNED_DAY]


def map_before(day: str) -> tuple[str, Entries]:
    """The newest version that was published before that day, and its map."""
    return _kept(day, "litellm", "--uploaded-prior-to", f"{day}T00:00:00Z")


def pinned_map() -> Entries:
    """The map of the pinned version."""
    return _kept(PINNED, f"litellm=={PINNED}")[1]


def _kept(name: str, *wanted: str) -> tuple[str, Entries]:
    path = _CACHE / f"{name}.json"
    if not path.is_file():
        _CACHE.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        partial.write_text(json.dumps(_fetched(wanted)))
        partial.rename(path)
    version, entries = json.loads(path.read_bytes())
    entries.pop("sample_spec", None)
    return version, {key: entry for key, entry in entries.items() if isinstance(entry, dict)}


def _fetched(wanted: tuple[str, ...]) -> tuple[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        pip = [sys.executable, "-m", "pip", "download", "-qq", "--disable-pip-version-check"]
        # the map is the same in all of a version's wheels; one of ours is not needed
        wheels = ["--no-deps", "--only-binary", ":all:", "--python-version", "3.11", "-d", folder]
        subprocess.run([*pip, *wheels, *wanted], check=True)
        (path,) = Path(folder).glob("*.whl")
        with zipfile.ZipFile(path) as wheel:
            return path.name.split("-")[1], json.loads(wheel.read(_MAP))
