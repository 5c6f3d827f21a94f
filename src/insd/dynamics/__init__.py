"""Dynamics of networks, under a constant input and as linear operators: tools that write no file."""
