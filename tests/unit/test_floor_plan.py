"""The house: imports point down only, and each foreign library has its one room.

To add a room, put its name on a floor. To use a library in another room, argue with WALLS.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import prodlensd

PACKAGE = Path(prodlensd.__file__).parent

#: From the top down. Rooms of one floor do not import each other.
FLOORS = (
    {"__main__"},
    {"cli"},
    {"daemon"},
    {
        "gap_search",
        "status",
        "metrics",
        "report",
        "demo",
        "compaction",
        "dead_letters",
        "publication",
        "reprice",
        "retention",
        "verify",
    },
    {"pipeline"},
    {
        "bell",
        "config",
        "formats",
        "pricing",
        "proxy",
        "publish",
        "service",
        "snapshots",
        "store",
        "tailer",
    },
    {"content", "durable", "sightings"},
    {"gunzip", "meter", "wakeup", "model", "litellm_callback", "turns"},
)
FLOOR_OF = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}

#: Whoever stands lower takes plain values and callables.
MAY_SEE_CONFIG = FLOORS[1] | FLOORS[2] | FLOORS[3]

EVERY_ROOM = set(FLOOR_OF) - {"meter", "model", "wakeup", "litellm_callback", "__main__"}
WALLS = {
    "apsw": {"store"},
    "click": {"cli"},
    "fasteners": {"service", "snapshots"},
    "genai_prices": {"pricing"},
    "litellm": {"litellm_callback"},
    "msgspec": {"config", "formats"},
    "orjson": EVERY_ROOM,
    "prometheus_client": {"metrics"},
    "pyarrow": {"compaction", "publish", "snapshots"},
    "rich": {"cli"},
    "structlog": EVERY_ROOM,
    "watchdog": {"bell"},
}

MODULES = sorted(path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py"))


def room_of(module: Path) -> str:
    return module.parts[0].removesuffix(".py")


def imports(source: str, module: Path) -> Iterator[tuple[int, str]]:
    """Line and dotted name of everything imported, lazily and for types alone too."""
    package = ("prodlensd", *module.parts[:-1])
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names=names):
                yield from ((node.lineno, alias.name) for alias in names)
            case ast.ImportFrom(module=name, names=names, level=level):
                above = package[: len(package) - level + 1] if level else ()
                origin = ".".join((*above, *([name] if name else [])))
                yield from ((node.lineno, f"{origin}.{alias.name}") for alias in names)
            case ast.Call(
                func=ast.Name(id="import_module") | ast.Attribute(attr="import_module"),
                args=[ast.Constant(value=str(name)), *_],
            ):
                yield node.lineno, name


def offence(room: str, imported: str) -> str | None:
    """Why `room` may not import this, or None when it may."""
    top, _, rest = imported.partition(".")
    if top in sys.stdlib_module_names:
        return None
    if top != "prodlensd":
        return None if room in WALLS.get(top, ()) else f"{top} stays in {WALLS.get(top, 'no room')}"
    target = rest.partition(".")[0]
    if target == room or target not in FLOOR_OF:  # its own modules, or a name of the package's own
        return None
    if room not in FLOOR_OF or FLOOR_OF[target] <= FLOOR_OF[room]:
        return f"{target} is not on a lower floor"
    if target == "config" and room not in MAY_SEE_CONFIG:
        return "only what is above `pipeline` sees the configuration"
    return None


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_imports_point_down_and_foreign_libraries_stay_in_their_rooms(module: Path) -> None:
    room = room_of(module)
    found = imports((PACKAGE / module).read_text(encoding="utf-8"), module)
    offences = [
        f"{module}:{line}: {room} → {imported}: {reason}"
        for line, imported in found
        if (reason := offence(room, imported))
    ]
    assert not offences, "\n".join(offences)


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_every_module_has_a_floor(module: Path) -> None:
    assert room_of(module) in {*FLOOR_OF, "__init__"}, f"{module} is on no floor of FLOORS"


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("store/reading.py", "import watchdog.events"),
        ("store/reading.py", "from prodlensd import tailer"),
        ("store/reading.py", "from ..daemon import Daemon"),
        ("bell.py", "from . import tailer"),
        ("tailer.py", "from prodlensd.config import Logs"),
        ("pipeline.py", "from prodlensd.config import Config"),
        ("status.py", "from prodlensd.daemon import Daemon"),
        ("daemon.py", "def lazily():\n    import pyarrow"),
        ("daemon.py", "if TYPE_CHECKING:\n    import apsw"),
        ("daemon.py", "importlib.import_module('prodlensd.cli')"),
        ("model.py", "import orjson"),
        ("model.py", "from prodlensd import formats"),
        ("litellm_callback.py", "from prodlensd.model import Trace"),
        ("litellm_callback.py", "import orjson"),
        ("__init__.py", "from prodlensd.model import Trace"),
        ("cli/run.py", "import apsw"),
        ("cli/run.py", "import requests"),
    ],
)
def test_a_wrong_edge_is_seen(module: str, source: str) -> None:
    path = Path(module)
    assert [name for _, name in imports(source, path) if offence(room_of(path), name)]


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("store/reading.py", "import apsw, os.path\nfrom prodlensd.store.schema import VERSION"),
        ("store/reading.py", "from .schema import VERSION\nfrom ..model import Trace"),
        ("store/reading.py", "from prodlensd import __version__"),
        ("daemon.py", "from prodlensd import config, pipeline, store\nimport structlog"),
        ("cli/run.py", "import click\nfrom prodlensd.config import load"),
        ("__main__.py", "from prodlensd.cli import main"),
        ("litellm_callback.py", "from litellm.integrations.custom_logger import CustomLogger"),
    ],
)
def test_a_right_edge_is_let_through(module: str, source: str) -> None:
    path = Path(module)
    assert [name for _, name in imports(source, path) if offence(room_of(path), name)] == []
