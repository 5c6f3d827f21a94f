"""Simulation of networks and its gradient."""
