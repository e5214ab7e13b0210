"""The process in its system: signals, what ends a wait, standard streams, the instance lock."""

from typing import TYPE_CHECKING

from prodlensd.faces import late

if TYPE_CHECKING:
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
else:
    __getattr__ = late(
        __name__,
        backoff="back_off_s",
        descriptors="occupy_standard_descriptors",
        lock="AlreadyRunningError InstanceLock import_lock import_lock_path is_held lock_path",
        signals="Signals",
        wakeup="Wakeup wait",
    )
