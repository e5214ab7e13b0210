"""`prodlensd`, and `python -m prodlensd`: where the process begins."""

import sys

from prodlensd.process import Signals, occupy_standard_descriptors


def main() -> None:
    """Runs the command; for the daemon, its signals are caught before anything else is loaded.

    A SIGHUP in the half second that loading takes would else end it.
    """
    occupy_standard_descriptors()
    if sys.argv[1:2] != ["run"]:
        _run_command(None)
        return
    with Signals() as signals:
        _run_command(signals)


def _run_command(signals: Signals | None) -> None:
    from prodlensd.cli import main as commands  # noqa: PLC0415 - after the signals are caught

    commands(obj=signals)


if __name__ == "__main__":
    main()
