"""The error that all errors with a message for the user derive from."""


class InsdError(Exception):
    """Something that the user can mend; the message names the key or file, what is wrong and what to do."""
