"""The three standard streams, made safe for the commands.

A closed stream is opened on /dev/null, so that no file of ours can get its number. Characters that
an encoding lacks are spelled in ASCII. stderr never fails: what it cannot take is dropped. A stdout
that fails ends the command, since the answer was not delivered.
"""

from __future__ import annotations

import codecs
import errno
import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from prodlensd.process import occupy_standard_descriptors

#: What we print beyond ASCII, for terminals that do not have it.
_SPELLED: Final = str.maketrans(
    {"→": "->", "≥": ">=", "…": "...", "–": "-", "—": "--", "×": "x", "─": "-"}  # noqa: RUF001
    | dict.fromkeys("▏▎▍▌", "-")
    | dict.fromkeys("▋▊▉█", "#")
)
_ERRORS: Final = "prodlensd.spelled"
_ASCII: Final = "prodlensd_ascii"


class OutputLostError(SystemExit):
    """Stdout cannot be written; why is on stderr. Not an OSError: the work handles its own."""


@contextmanager
def standard_streams() -> Iterator[None]:
    """Makes the standard streams usable for a command, whatever we were started with."""
    occupy_standard_descriptors()
    before = sys.stdout, sys.stderr
    # First stderr: what goes wrong with stdout is printed there.
    sys.stderr = _legible(sys.stderr, sys.__stderr__, _Voice, 2)
    sys.stdout = _legible(sys.stdout, sys.__stdout__, _Output, 1)
    try:
        yield
    finally:
        try:
            sys.stdout.flush()
        finally:
            sys.stdout, sys.stderr = before


def _legible(stream: Any, original: Any, kind: type[io.FileIO], descriptor: int) -> Any:  # noqa: ANN401
    """The stream on a file of this kind; one that a test has put in its place stays itself."""
    if stream is not original:
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=_ERRORS)
        return stream
    encoding = stream.encoding if stream is not None else "utf-8"
    if codecs.lookup(encoding).name == "ascii":
        encoding = _ASCII
    file: Any = kind(descriptor, "wb", closefd=False)
    if kind is _Output:
        file = io.BufferedWriter(file)
    return io.TextIOWrapper(
        file,
        encoding,
        errors=_ERRORS,
        line_buffering=file.isatty(),
        write_through=kind is _Voice,
    )


class _Voice(io.FileIO):
    """Stderr, which never fails. `write` returns how much was written, 0 for what was dropped.

    The mutable state: whether the last write ended in the middle.
    """

    _is_torn = False

    def write(self, data: Any, /) -> int:  # noqa: ANN401 - any buffer
        text = bytes(data)
        left = memoryview(b"\n" + text if self._is_torn else text)
        while left:
            try:
                written = super().write(left)
            except OSError:
                written = None
            if not written:  # also when a pipe that must not block is full
                self._is_torn = self._is_torn or 0 < len(left) < len(text)
                return 0
            self._is_torn = False
            left = left[written:]
        return len(text)


class _Output(io.FileIO):
    """Stdout, which ends the command when it fails. The mutable state: whether it has failed."""

    _is_lost = False

    def write(self, data: Any, /) -> int:  # noqa: ANN401 - any buffer
        if self._is_lost:
            return memoryview(data).nbytes  # what is left in buffers ends nothing twice
        try:
            while (written := super().write(data)) is None:
                self._await_room()
        except OSError as error:
            self._is_lost = True
            if error.errno != errno.EPIPE:  # a reader that has gone needs no message
                sys.stderr.write(f"Error: cannot write to stdout: {error.strerror}\n")
            raise OutputLostError(1) from error
        return written

    def _await_room(self) -> None:
        """Waits for the reader of a pipe that must not block."""
        import select  # noqa: PLC0415 - hardly ever

        select.select((), (self,), ())


def _spelled(error: UnicodeError) -> tuple[str, int]:
    """What the encoding lacks as ASCII: the signs that we print spelled, others as escapes."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end].translate(_SPELLED)
    return text.encode("ascii", "backslashreplace").decode("ascii"), error.end


def _ascii_as_asked(name: str) -> codecs.CodecInfo | None:
    """ASCII under another name: under its own, click takes it for a mistake and writes UTF-8."""
    if name != _ASCII:
        return None
    real = codecs.lookup("ascii")
    return codecs.CodecInfo(*real, real.incrementalencoder, real.incrementaldecoder, name=name)


codecs.register_error(_ERRORS, _spelled)
codecs.register(_ascii_as_asked)
