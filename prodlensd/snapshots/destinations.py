"""Copies files to where a team's are: a shared folder, S3 or Google Cloud Storage.

A file is there whole or not at all, under a key that only this host writes, so to copy it again
changes nothing. Credentials are found as the providers' own tools find them (environment, profile,
the machine's role); none is ever part of an address.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import parse_qsl, unquote, urlsplit

from pyarrow import fs

from prodlensd.durable import replacing

_BLOCK_BYTES: Final = 4 << 20
#: Google's library would try for a quarter of an hour; like this, for less than a minute, or
#: for two where it is never answered. S3's gives up by itself after half a minute.
_PATIENCE_S: Final = 30


class Destination(Protocol):
    """Where files are copied to."""

    def put(self, file: Path, key: str) -> None:
        """Copies the file there, in place of what has this key. Raises OSError."""


def destination(url: str) -> Destination:
    """What an address of file://, s3:// or gs:// stands for. Raises OSError or ValueError."""
    if url.startswith("file://"):
        return Folder(Path(unquote(urlsplit(url).path)))
    return Bucket(url)


class Folder:
    """A folder that others share, as on a network file system."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def put(self, file: Path, key: str) -> None:
        """Copies the file there. Whoever may read the folder may read what is put in it."""
        if not self._root.is_dir():
            # Made by us, it would be in the way of what is to be mounted there.
            raise FileNotFoundError(f"{self._root} is not there: is it mounted?")
        path = self._root / key
        mode = self._root.stat().st_mode & 0o7777
        if not path.parent.is_dir():
            path.parent.mkdir(exist_ok=True)
            path.parent.chmod(mode)
        with file.open("rb") as source, replacing(path, mode & 0o666) as target:
            shutil.copyfileobj(source, target, _BLOCK_BYTES)


class Bucket:
    """A bucket, and a prefix within."""

    def __init__(self, url: str) -> None:
        options = dict(parse_qsl(urlsplit(url).query))
        if "region" in options:
            # Else the machine it may run on is asked for it: for eight seconds on a laptop.
            os.environ.setdefault("AWS_REGION", options["region"])
        if url.startswith("gs://") and "retry_limit_seconds" not in options:
            url += f"{'&' if options else '?'}retry_limit_seconds={_PATIENCE_S}"
        self._files, self._root = fs.FileSystem.from_uri(url)

    def put(self, file: Path, key: str) -> None:
        """Uploads the file: all of it is in memory before the first byte goes.

        pyarrow ends an upload by completing it, also one that an error of ours interrupts; nothing
        of ours may happen in between. An error of the ledger completes nothing.
        """
        content = file.read_bytes()
        with self._files.open_output_stream(f"{self._root.rstrip('/')}/{key}") as upload:
            upload.write(content)
