"""The error that all errors with a message for the user derive from, and how checks of the user's classes raise it."""

from collections.abc import Callable


class InsdError(Exception):
    """An error that the user can correct; the message names the key or file, the fault and the remedy."""


def refusing(error: type[InsdError]) -> Callable[[bool, str, str], None]:
    """What a check of a class calls: `must(holds, name, message)` raises the error, of the name and the message, unless
    something holds.
    """

    def must(holds: bool, name: str, message: str) -> None:
        if not holds:
            raise error(f"{name}: {message}")

    return must
