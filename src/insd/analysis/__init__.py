"""Analyses: pure functions from datasets to datasets."""
