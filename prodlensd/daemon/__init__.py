"""The daemon: its loop, jobs, faults, measures and log; sd_notify and HTTP."""

from prodlensd.daemon.http import Answer, serving
from prodlensd.daemon.jobs import Job
from prodlensd.daemon.log import configure_log, log_outlet
from prodlensd.daemon.loop import BEAT_INTERVAL_S, Daemon, Pace
from prodlensd.daemon.notify import Notifier
from prodlensd.daemon.pages import Pages, answer_each

__all__ = [
    "BEAT_INTERVAL_S",
    "Answer",
    "Daemon",
    "Job",
    "Notifier",
    "Pace",
    "Pages",
    "answer_each",
    "configure_log",
    "log_outlet",
    "serving",
]
