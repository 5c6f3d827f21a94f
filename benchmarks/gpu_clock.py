"""Clocks of a GPU: of iterations as the host starts them, and of kernels alone; and which kernels run."""

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from insd.networks.engine import bptt


def iteration_ms(step: Callable[[], object], seconds: float = 1.0) -> float:
    """Milliseconds of an iteration among many: the median of runs of ten, after a few that do not count."""
    for _ in range(8):
        step()
    times: list[float] = []
    while len(times) < 3 or (sum(times) < seconds and len(times) < 20):
        torch.cuda.synchronize()
        start = time.perf_counter()
        for _ in range(10):
            step()
        torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return 1e3 * statistics.median(times) / 10


def device_ms(function: Callable[[], object]) -> float:
    """Milliseconds on the GPU, by its own clock: the median of 20 after three that do not count."""
    times = []
    for _ in range(23):
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        function()
        end.record()
        torch.cuda.synchronize()
        times.append(begin.elapsed_time(end))
    return statistics.median(times[3:])


def graph(function: Callable[[], object]) -> Callable[[], object]:
    """The same as a CUDA graph, as it is run in training."""
    for _ in range(3):
        function()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        function()
    return graph.replay


@contextmanager
def run_by(kernels: Any) -> Iterator[None]:
    """With these kernels for the loop over time; with None by graphs."""
    kept, bptt.persistent = bptt.persistent, kernels
    try:
        yield
    finally:
        bptt.persistent = kept


@contextmanager
def streamed(kernels: Any, trials: int = 16) -> Iterator[None]:
    """With our kernels for networks of up to 256 units, whose programs have so many trials each."""
    if kernels is None:
        yield
        return
    kept = kernels.MOST_UNITS, kernels.streamed.TILE
    kernels.MOST_UNITS, kernels.streamed.TILE = 256, trials
    try:
        yield
    finally:
        kernels.MOST_UNITS, kernels.streamed.TILE = kept
