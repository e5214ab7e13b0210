"""A room's face whose names are loaded when they are first asked for.

`status` needs some of what the ledger can do, `statusline` little and `--version` nothing: to load
all of it takes longer than their work.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any


def late(room: str, **names: str) -> Callable[[str], Any]:
    """The `__getattr__` of a room: `names` has for each of its files what the face takes of it.

    For editors and types, the face imports the same names under TYPE_CHECKING.
    """
    files = {name: file for file, of in names.items() for name in of.split()}

    def load(name: str) -> Any:  # noqa: ANN401 - as the file has it
        if name not in files:
            raise AttributeError(f"module {room!r} has no attribute {name!r}")
        found = getattr(import_module(f"{room}.{files[name]}"), name)
        setattr(sys.modules[room], name, found)  # from now on it is there without us
        return found

    return load
