"""Dynamics of one network under a constant input: tools that write no file."""
