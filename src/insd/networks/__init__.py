"""Recurrent networks: one file per architecture, on the interfaces of `base` and the simulation in `engine`."""
