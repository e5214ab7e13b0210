"""prodlensd as a service: units and agents written, started, shown and removed."""

from prodlensd.service.runner import Runner, ServiceError
from prodlensd.service.units import SYSTEM_USER, Launchd, Manager, Program, State, Systemd

__all__ = [
    "SYSTEM_USER",
    "Launchd",
    "Manager",
    "Program",
    "Runner",
    "ServiceError",
    "State",
    "Systemd",
]
