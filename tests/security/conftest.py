"""A house of one's own for each test."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.security.hostile import House


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path / "home")


@pytest.fixture(autouse=True)
def umask() -> Iterator[None]:
    """Commands called in this process set the umask; the next test has its own again."""
    before = os.umask(0o022)
    os.umask(before)
    yield
    os.umask(before)
