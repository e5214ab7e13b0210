"""The process in its system: signals, what ends a wait, standard streams, the instance lock."""

from prodlensd.process.backoff import back_off_s
from prodlensd.process.descriptors import occupy_standard_descriptors
from prodlensd.process.lock import (
    AlreadyRunningError,
    InstanceLock,
    import_lock,
    import_lock_path,
    is_held,
    lock_path,
)
from prodlensd.process.signals import Signals
from prodlensd.process.wakeup import Wakeup, wait

__all__ = [
    "AlreadyRunningError",
    "InstanceLock",
    "Signals",
    "Wakeup",
    "back_off_s",
    "import_lock",
    "import_lock_path",
    "is_held",
    "lock_path",
    "occupy_standard_descriptors",
    "wait",
]
