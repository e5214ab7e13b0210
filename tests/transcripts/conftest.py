"""A laptop of one's own for each test."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest

from tests.transcripts.laptop import Laptop


@pytest.fixture
def laptop(tmp_path: Path) -> Laptop:
    return Laptop(tmp_path / "laptop")


@pytest.fixture
def another(tmp_path: Path) -> Callable[[], Laptop]:
    """Makes more of them."""
    numbers = count()
    return lambda: Laptop(tmp_path / f"another-{next(numbers)}")
