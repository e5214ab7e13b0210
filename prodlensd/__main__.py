"""`prodlensd`, and `python -m prodlensd`: where the process begins."""

import gc
import sys
from typing import TYPE_CHECKING, Final

from prodlensd.process import occupy_standard_descriptors

if TYPE_CHECKING:
    from prodlensd.process import Signals

#: Loading modules makes many objects and no garbage: to look for it takes a thirtieth of a report.
_OBJECTS_BETWEEN_COLLECTIONS: Final = 50_000


class _NotInstalled:
    """As if these were not installed.

    Where they are, pyarrow and DuckDB load numpy and pandas: half a second and 150 MB, to ask
    whether a value is one of theirs. None here is. And structlog loads rich and, with asyncio, ssl,
    for which a daemon that runs for weeks has no use: 5 and 1 MB.
    """

    def __init__(self, *names: str) -> None:
        self._names = names

    def find_spec(self, fullname: str, *_: object) -> None:
        """Refuses to find them; of others it knows nothing."""
        if fullname in self._names:
            raise ModuleNotFoundError(fullname)


def main() -> None:
    """Runs the command; for the daemon, its signals are caught before anything else is loaded.

    A SIGHUP in the half second that loading takes would else end it.
    """
    occupy_standard_descriptors()
    is_run = sys.argv[1:2] == ["run"]
    is_daemon = is_run and "--once" not in sys.argv
    sys.meta_path.insert(
        0, _NotInstalled("numpy", "pandas", *(["rich", "ssl"] if is_daemon else []))
    )
    if not is_run:
        gc.set_threshold(_OBJECTS_BETWEEN_COLLECTIONS)
        try:
            _run_command(None)
        finally:
            _keep_what_is_loaded()
        return
    from prodlensd.process import Signals  # noqa: PLC0415 - for the daemon alone

    with Signals() as signals:
        _run_command(signals)


def _run_command(signals: "Signals | None") -> None:
    from prodlensd.cli import is_answered  # noqa: PLC0415 - after the signals are caught

    if is_answered(sys.argv[1:]):
        return
    # msgspec loads it where it is there, and takes of it what typing has since Python 3.11.
    hidden = _NotInstalled("typing_extensions")
    sys.meta_path.insert(0, hidden)
    from prodlensd.cli import main as commands  # noqa: PLC0415 - loads click and msgspec

    sys.meta_path.remove(hidden)
    _keep_what_is_loaded()
    commands(obj=signals)


def _keep_what_is_loaded() -> None:
    """Has it stay to the end, where the interpreter would look at it all for garbage.

    Not DuckDB, which finds then that it has not been taken apart, and says so.
    """
    if "duckdb" not in sys.modules:
        gc.freeze()


if __name__ == "__main__":
    main()
