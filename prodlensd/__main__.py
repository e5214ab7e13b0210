"""`prodlensd`, and `python -m prodlensd`: where the process begins."""

import gc
import sys
from typing import Final

from prodlensd.process import Signals, occupy_standard_descriptors

#: Loading modules makes many objects and no garbage: to look for it takes a thirtieth of a report.
_OBJECTS_BETWEEN_COLLECTIONS: Final = 50_000


class _NotInstalled:
    """As if these were not installed.

    Where they are, pyarrow and DuckDB load them: half a second and 150 MB, to ask whether a value
    is one of theirs. None here is.
    """

    @staticmethod
    def find_spec(fullname: str, *_: object) -> None:
        if fullname in ("numpy", "pandas"):
            raise ModuleNotFoundError(fullname)


def main() -> None:
    """Runs the command; for the daemon, its signals are caught before anything else is loaded.

    A SIGHUP in the half second that loading takes would else end it.
    """
    occupy_standard_descriptors()
    sys.meta_path.insert(0, _NotInstalled())
    if sys.argv[1:2] != ["run"]:
        gc.set_threshold(_OBJECTS_BETWEEN_COLLECTIONS)
        _run_command(None)
        return
    with Signals() as signals:
        _run_command(signals)


def _run_command(signals: Signals | None) -> None:
    from prodlensd.cli import main as commands  # noqa: PLC0415 - after the signals are caught

    commands(obj=signals)


if __name__ == "__main__":
    main()
