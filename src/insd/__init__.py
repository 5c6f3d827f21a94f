"""Iterative Neural Similarity Deflation: networks that solve a task in ways that earlier networks did not."""
