"""The daemon: its loop, jobs, faults, measures and log; sd_notify and HTTP."""

from prodlensd.daemon.http import Answer, serving
from prodlensd.daemon.jobs import Job
from prodlensd.daemon.log import configure_log, log_outlet
from prodlensd.daemon.loop import Daemon, Pace
from prodlensd.daemon.notify import Notifier

__all__ = ["Answer", "Daemon", "Job", "Notifier", "Pace", "configure_log", "log_outlet", "serving"]
