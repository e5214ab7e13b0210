"""The loop, its measures, its log, what the service manager hears, and HTTP."""

from prodlensd.daemon.http import Answer, serving
from prodlensd.daemon.log import configure_log, log_outlet
from prodlensd.daemon.loop import Daemon, Pace, Work
from prodlensd.daemon.notify import Notifier

__all__ = ["Answer", "Daemon", "Notifier", "Pace", "Work", "configure_log", "log_outlet", "serving"]
