"""The stories that a log file and its daemon may live through, by number.

A test says which of them it tells: `@pytest.mark.scenario(16, 19)`. `test_catalogue.py` sees to it
that each story is told by some test, or stands in `NOT_HERE` with the reason.
"""

from __future__ import annotations

STORIES: dict[int, str] = {
    # Beginning, and going on
    1: "a file made after the start is read from its first line",
    2: "a file that was there before the first start is read from its first line",
    3: "what is appended while the daemon is down is read after it, and nothing before it again",
    4: "a line that is half written at the stop and completed before the start is one line",
    5: "half a line waits for its other half, however long",
    6: "a writer that writes byte by byte, each flushed to the disk",
    7: "a line end, or a character of several bytes, lies across the end of a read",
    # Rotation by rename
    8: "a renamed file gets late lines through the old descriptor, beside the new file",
    9: "a renamed file is written to for a minute, and no new file comes",
    10: "three rotations pass while the daemon stands still",
    11: "twenty files are rotated fifty times, faster than they are looked at",
    12: "a file with unread lines is moved out of the folder",
    13: "a file is renamed, and a new one begun, while the daemon is down",
    14: "lines that were seen are rotated away before the daemon comes back to read them",
    15: "a file is moved away, truncated, and moved back",
    # Copytruncate and other truncations
    16: "ten times copied and truncated, with the writer quiet meanwhile",
    17: "copied and truncated, with lines written in between",
    18: "a copy is looked at while it is being made",
    19: "copied and truncated around a restart",
    20: "a writer that keeps its place leaves a hole in the truncated file",
    21: "a truncated file begins again with fewer bytes than were read",
    22: "truncated fifty-one times",
    23: "truncated, and grown past the old place before the next look",
    24: "truncated, and grown past the old place while the daemon is down",
    25: "rewritten at the same size and with the old modification time",
    26: "rewritten with lines whose last four KiB are those of the old ones",
    27: "files whose first eight KiB are alike",
    28: "a thousand files of one tiny line",
    29: "empty files, and files of line ends only",
    # Files that leave
    30: "a new file has the inode of one that was deleted just now",
    31: "a new file has the inode of one that was deleted while the daemon was down",
    32: "a file is deleted before its last lines are read",
    33: "a writer goes on in a file that was deleted",
    34: "the descriptor of a deleted file is given back",
    35: "deleted and made again a hundred times",
    36: "a file is made and deleted between two looks",
    # Compression
    37: "renamed, and compressed bit by bit, before the original is removed",
    38: "compressed with lines in it that nobody has read, while the daemon is down",
    39: "a gzip file with its header, its data or its end damaged",
    40: "a gzip file of several members, an empty one among them, and zeros behind",
    41: "a small gzip file that would fill all memory",
    42: "rotated files compressed with what is not read",
    # Copies, backups, other names
    43: "a log is copied under another name, and one of the two is removed",
    44: "an editor saves a new file with one line more under the old name",
    45: "an older backup is put back, and other lines follow",
    46: "a log that lost its end in the middle of a line, and goes on",
    47: "a second name for the same file",
    48: "a symbolic link to the newest log, which is pointed at the next one",
    49: "links that lead nowhere, pipes, sockets and folders with the name of a log",
    # Lines
    50: "Windows line ends, and both kinds in one file",
    51: "a byte order mark, and a file in UTF-16",
    52: "zero bytes, broken UTF-8, lone surrogates, NaN, repeated keys, numbers beyond all bounds",
    53: "lines of 64 KiB, of 16 MiB, and longer than memory should hold",
    54: "a file of more than four GiB",
    55: "JSON nested a hundred thousand deep",
    # Many files, and files out of reach
    56: "ten thousand files, of which a hundred are written to",
    57: "fifty-five thousand files that come and go",
    58: "one file grows fast, and the slow ones are not kept waiting",
    59: "more files than descriptors",
    60: "a file that may not be read for a while",
    61: "the disk fails at a look or at a read",
    62: "the log folder is removed and made again",
    63: "the log folder is renamed, or a link or a mount takes its place",
    64: "a folder full of logs is moved in",
    # File events
    65: "more file events than the kernel keeps",
    66: "no watches left",
    67: "the watcher dies",
    68: "writes that cause no file event",
    # Death and disks
    69: "killed again and again, under load",
    70: "killed at each step of a commit",
    71: "the power fails",
    72: "the disk of the ledger is full",
    73: "the disk of the snapshots is full",
    74: "the n-th system call fails, for every n",
    75: "killed at each step of writing a snapshot",
    # The ledger itself
    76: "the database is damaged, cut short or emptied",
    77: "the database is moved or deleted under the running daemon",
    78: "another program locks the database",
    79: "a reader that never ends",
    80: "a ledger of an older or of a newer schema",
    # Processes and time
    81: "a second daemon",
    82: "a second daemon, after the lock file was deleted",
    83: "a second daemon, while the first is stopped but alive",
    84: "the clock jumps a year, forwards or back",
    85: "the machine sleeps",
    86: "asked to stop under load, twice",
    # Identity
    87: "the same line twice in one file",
    88: "two files of the same lines, without ids",
    89: "the daemon's memory of its files is lost, the ledger is not",
    # Everything at once
    90: "random histories of files, deaths and races",
    91: "hours of writing, rotating and failing, and nothing is left over at the end",
    # What other people's log programs met
    92: "a log that has its size before its bytes, and is written in place",
    93: "bytes that come out of order, with zeros in their place meanwhile",
    94: "rotated by its date while the daemon is down; links, and names that no rule takes",
    95: "copied and truncated, and the copy compressed before anybody can look at it",
    96: "the ledger and its own log lie in the log folder",
    97: "no inotify instance, thread, process or descriptor left, or the interpreter is gone",
    98: "nobody reads the daemon's own log any more, or its disk is full",
    99: "inodes and devices of 64 bits",
    100: "a log at rest on a disk that is to be unmounted",
    101: "the snapshots, or some of them, are deleted or cut short",
    102: "the snapshots are to be in another folder",
    103: "killed while the snapshots move",
    104: "the place that snapshots are published to is emptied",
    105: "signals in any number, at any pace, from the first moment on",
    106: "a gap beside many large compressed files",
}

#: Stories that no test tells, and why.
NOT_HERE: dict[int, str] = {}
