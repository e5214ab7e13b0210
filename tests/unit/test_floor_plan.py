"""The house: imports point down only, through faces only, and each foreign library has its room.

To add a room, put its name on a floor. To use a library in another room, argue with WALLS.
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

import prodlensd

PACKAGE = Path(prodlensd.__file__).parent

#: From the top down. Rooms of one floor do not import each other.
FLOORS = (
    {"__main__"},
    {"cli"},
    {"app"},
    {"daemon", "jobs", "answers"},
    {"pipeline"},
    {"config", "formats", "ledger", "litellm", "logs", "pricing", "service", "snapshots"},
    {"durable", "process", "transcripts"},
    {"access", "child", "model", "moments", "text", "litellm_callback"},
    {"faces"},
)
FLOOR_OF = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}

#: Rooms that are shelves: one file a command, a part, a job, a question. Each file is a face. All
#: other rooms are entered through their `__init__`.
SHELVES = {"cli", "app", "jobs", "answers"}

#: All others take plain values and callables.
MAY_SEE_CONFIG = {"cli", "app"}

#: A command is options, texts and exit codes: it asks `app` and `answers`, and prints. Only `app`
#: puts parts together.
CLI_SEES = {
    "answers",
    "app",
    "config",
    "litellm",
    "process",
    "service",
    "durable",
    "faces",
    *FLOORS[-2],
}

EVERY_ROOM = set(FLOOR_OF) - FLOORS[-1] - FLOORS[-2] - {"process", "__main__"}
WALLS = {
    "apsw": {"ledger"},
    "click": {"cli"},
    "duckdb": {"answers"},
    "fasteners": {"process", "snapshots"},
    "genai_prices": {"pricing"},
    "jinja2": {"answers"},
    "litellm": {"litellm_callback"},
    "markupsafe": {"answers"},
    "msgspec": {"config", "formats"},
    "orjson": EVERY_ROOM,
    "prometheus_client": {"answers"},
    "pyarrow": {"jobs", "snapshots"},
    "rich": {"cli", "text"},
    "structlog": EVERY_ROOM,
    "vl_convert": {"answers"},
    "watchdog": {"logs"},
}

#: Classes of values are msgspec's in every room.
OF_VALUES = re.compile(r"msgspec\.(Struct|field|to_builtins|structs\.\w+)")

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


def is_module(dotted: str) -> bool:
    path = PACKAGE.parent.joinpath(*dotted.split("."))
    return path.is_dir() or path.with_suffix(".py").exists()


def is_past_the_face(imported: str) -> bool:
    """Whether this reaches deeper into a room than its face."""
    _, room, *rest = imported.split(".")
    modules = 0
    for depth in range(1, len(rest) + 1):
        modules += is_module(".".join(("prodlensd", room, *rest[:depth])))
    return modules > (room in SHELVES)


def offence(room: str, imported: str) -> str | None:  # noqa: PLR0911 - a reason each
    """Why `room` may not import this, or None when it may."""
    top, _, rest = imported.partition(".")
    if top in sys.stdlib_module_names:
        return None
    if OF_VALUES.fullmatch(imported):
        return None
    if top != "prodlensd":
        return None if room in WALLS.get(top, ()) else f"{top} stays in {WALLS.get(top, 'no room')}"
    target = rest.partition(".")[0]
    if target == room or target not in FLOOR_OF:  # its own modules, or a name of the package's own
        return None
    if room not in FLOOR_OF or FLOOR_OF[target] <= FLOOR_OF[room]:
        return f"{target} is not on a lower floor"
    if target == "config" and room not in MAY_SEE_CONFIG:
        return "only `app` and `cli` see the configuration"
    if room == "cli" and target not in CLI_SEES:
        return "only `app` puts parts together"
    return f"past the face of {target}" if is_past_the_face(imported) else None


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_imports_point_down_through_faces_and_foreign_libraries_stay_in_their_rooms(
    module: Path,
) -> None:
    room = room_of(module)
    found = imports((PACKAGE / module).read_text(encoding="utf-8"), module)
    offences = [
        f"{module}:{line}: {room} → {imported}: {reason}"
        for line, imported in found
        if (reason := offence(room, imported))
    ]
    assert not offences, "\n".join(offences)


@pytest.mark.parametrize("room", ["cli", "config", "ledger", "model", "process", "text"])
def test_a_face_that_loads_late_has_what_it_says_to_editors_and_types(room: str) -> None:
    face = import_module(f"prodlensd.{room}")
    said = {
        name.name: getattr(import_module(str(node.module)), name.name)
        for branch in ast.parse((PACKAGE / room / "__init__.py").read_text(encoding="utf-8")).body
        if isinstance(branch, ast.If)
        for node in branch.body
        if isinstance(node, ast.ImportFrom)
        for name in node.names
    }
    assert said
    assert said == {name: getattr(face, name) for name in said}
    names = inspect.getclosurevars(face.__getattr__).nonlocals["files"]
    assert said.keys() == names.keys()
    with pytest.raises(AttributeError, match=rf"module 'prodlensd.{room}' has no attribute 'no'"):
        _ = face.no


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_every_module_has_a_floor(module: Path) -> None:
    assert room_of(module) in {*FLOOR_OF, "__init__"}, f"{module} is on no floor of FLOORS"


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("ledger/reading.py", "import watchdog.events"),
        ("ledger/reading.py", "from prodlensd.logs import Tailer"),
        ("ledger/reading.py", "from ..daemon import Daemon"),
        ("logs/tailer.py", "from prodlensd.config import Logs"),
        ("logs/tailer.py", "from prodlensd.process.wakeup import wait"),
        ("pipeline/lines.py", "from prodlensd.config import Config"),
        ("answers/status.py", "from prodlensd.daemon import Daemon"),
        ("answers/status.py", "from prodlensd.config import Status"),
        ("answers/status.py", "from prodlensd.ledger.days import Partition"),
        ("answers/status.py", "from prodlensd.ledger import days"),
        ("cli/verify.py", "from prodlensd.answers.verify.rereading import reread"),
        ("jobs/repricing.py", "from prodlensd.answers import status"),
        ("daemon/loop.py", "def lazily():\n    import pyarrow"),
        ("daemon/loop.py", "if TYPE_CHECKING:\n    import apsw"),
        ("daemon/loop.py", "importlib.import_module('prodlensd.cli')"),
        ("model/calls.py", "import orjson"),
        ("model/calls.py", "from prodlensd import formats"),
        ("litellm_callback.py", "from prodlensd.model import Trace"),
        ("litellm_callback.py", "import orjson"),
        ("__init__.py", "from prodlensd.model import Trace"),
        ("cli/run.py", "import apsw"),
        ("cli/run.py", "from prodlensd.jobs.compaction import Compaction"),
        ("cli/run.py", "def lazily():\n    from prodlensd import snapshots"),
        ("cli/run.py", "if TYPE_CHECKING:\n    from prodlensd.ledger import Reader"),
        ("cli/run.py", "import requests"),
    ],
)
def test_a_wrong_edge_is_seen(module: str, source: str) -> None:
    path = Path(module)
    assert [name for _, name in imports(source, path) if offence(room_of(path), name)]


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("ledger/reading.py", "import apsw, os.path\nfrom prodlensd.ledger.schema import VERSION"),
        ("ledger/reading.py", "from .schema import VERSION\nfrom ..model import Trace"),
        ("ledger/reading.py", "from prodlensd import __version__"),
        ("daemon/loop.py", "from prodlensd import pipeline\nimport structlog"),
        ("app/run.py", "from prodlensd.config import load\nfrom prodlensd.jobs import compaction"),
        ("app/run.py", "from prodlensd.jobs.compaction import Compaction"),
        ("cli/run.py", "import click\nfrom prodlensd.app.compaction import compact"),
        ("cli/run.py", "from prodlensd.model import REASONS\nfrom prodlensd.text import table"),
        ("cli/verify.py", "from prodlensd.answers.verify import verify"),
        ("__main__.py", "from prodlensd.cli import main"),
        ("litellm_callback.py", "from litellm.integrations.custom_logger import CustomLogger"),
    ],
)
def test_a_right_edge_is_let_through(module: str, source: str) -> None:
    path = Path(module)
    assert [name for _, name in imports(source, path) if offence(room_of(path), name)] == []
