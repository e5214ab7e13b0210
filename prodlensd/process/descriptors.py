"""The descriptors of the standard streams: never given to a file of ours."""

from __future__ import annotations

import os
from contextlib import suppress


def occupy_standard_descriptors() -> None:
    """Opens /dev/null in place of each standard stream that is closed.

    Only for reading, as gnulib does: a write still fails, and is not taken for a success.
    """
    with suppress(OSError):  # no /dev/null here
        while (descriptor := os.open(os.devnull, os.O_RDONLY)) <= 2:  # noqa: PLR2004 - stderr
            os.set_inheritable(descriptor, True)  # noqa: FBT003 - so it is declared
        os.close(descriptor)
