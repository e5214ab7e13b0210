"""Finds, follows and reads log files; proofs that bytes are the same; the bell."""

from prodlensd.logs.bell import Bell
from prodlensd.logs.content import proof_of_line
from prodlensd.logs.folders import Folders, PassedOver
from prodlensd.logs.gap_search import GapSearch
from prodlensd.logs.named import NamedFile, UnreadableError, bytes_at
from prodlensd.logs.source import READ_BYTES
from prodlensd.logs.tailer import Tailer
from prodlensd.logs.writers import keeping_writers_out
from prodlensd.logs.zeros import ZEROS_WAIT_NS

__all__ = [
    "READ_BYTES",
    "ZEROS_WAIT_NS",
    "Bell",
    "Folders",
    "GapSearch",
    "NamedFile",
    "PassedOver",
    "Tailer",
    "UnreadableError",
    "bytes_at",
    "keeping_writers_out",
    "proof_of_line",
]
