"""Process manners: one instance at a time, signals, the program's own log."""

from prodlensd.service.units import (
    SYSTEM_USER,
    DryHands,
    Hands,
    Launchd,
    Manager,
    Program,
    ServiceError,
    State,
    Systemd,
)

__all__ = [
    "SYSTEM_USER",
    "DryHands",
    "Hands",
    "Launchd",
    "Manager",
    "Program",
    "ServiceError",
    "State",
    "Systemd",
]
