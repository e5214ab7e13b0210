"""What keeps the program from its work, and is no bug."""


class OperationalError(Exception):
    """The work cannot be done as things are; no bug. The message, for people, says what to do."""


class TemporaryError(OperationalError):
    """What is in the way passes by itself, such as another program's lock: try again later."""
