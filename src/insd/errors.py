"""The error that all errors with a message for the user derive from."""


class InsdError(Exception):
    """An error that the user can correct; the message names the key or file, the fault and the remedy."""
