"""Copies files to a place that a team shares: a folder, S3 or Google Cloud Storage.

A copy is whole or does not exist. Its key is written by this host only, so that copying again
changes nothing. Credentials are found as the providers' own tools find them (environment, profile,
the machine's role); they are never part of an address.
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
#: Google's library would try for a quarter of an hour. With this it tries for less than a minute,
#: or for two when nothing answers. S3's gives up by itself after half a minute.
_RETRY_LIMIT_S: Final = 30


class Destination(Protocol):
    """Where files are copied to."""

    def put(self, file: Path, key: str) -> None:
        """Copies the file there, in place of a copy with this key. Raises OSError."""


def destination(url: str) -> Destination:
    """The destination of a file://, s3:// or gs:// address. Raises OSError or ValueError."""
    if url.startswith("file://"):
        return Folder(Path(unquote(urlsplit(url).path)))
    return Bucket(url)


class Folder:
    """A shared folder, as on a network file system."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def put(self, file: Path, key: str) -> None:
        """Copies the file there, readable for all users who may read the folder."""
        check_is_mounted(self._root)
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
        self._files, self._root = bucket(url)

    def put(self, file: Path, key: str) -> None:
        """Uploads the file, which is read into memory first.

        pyarrow completes an upload even when an error of ours interrupts it, so nothing of ours
        happens in between. After an error of the service, the upload is not completed.
        """
        content = file.read_bytes()
        with self._files.open_output_stream(f"{self._root.rstrip('/')}/{key}") as upload:
            upload.write(content)


def bucket(url: str) -> tuple[fs.FileSystem, str]:
    """File system and path of an s3:// or gs:// address. Raises OSError or ValueError."""
    options = dict(parse_qsl(urlsplit(url).query))
    if "region" in options:
        # Without it, the SDK asks the machine it may run on: eight seconds on a laptop.
        os.environ.setdefault("AWS_REGION", options["region"])
    if url.startswith("gs://") and "retry_limit_seconds" not in options:
        url += f"{'&' if options else '?'}retry_limit_seconds={_RETRY_LIMIT_S}"
    files, root = fs.FileSystem.from_uri(url)
    return files, root.rstrip("/")


def check_is_mounted(root: Path) -> None:
    """Raises OSError when this folder is not there."""
    if not root.is_dir():
        # We do not create it: it may be a mount point, and would then be hidden.
        raise FileNotFoundError(f"{root} is not there: is it mounted?")


def file_system(url: str) -> tuple[fs.FileSystem, str]:
    """The file system of an address, and the path within it. Raises OSError or ValueError."""
    if not url.startswith("file://"):
        return bucket(url)
    root = Path(unquote(urlsplit(url).path))
    check_is_mounted(root)
    return fs.LocalFileSystem(), str(root)
