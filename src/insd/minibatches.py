"""The trials of each iteration, drawn for each network from its own random stream."""

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import torch
from jaxtyping import Int
from torch import Tensor

from insd.devices import CPU

THREADS = 2
"""Streams that are drawn from at once for a GPU; more wait for each other, for they share an interpreter."""


class Minibatches:
    """For each network in each iteration, some trials of the first `trials` of a bank, none of them twice.

    They are drawn when they are taken or, for a GPU, whose iterations may take less time than the drawing for hundreds
    of networks, in threads while earlier iterations are trained. The numbers are the same.

    Parameters
    ----------
    streams : one per network.
    trials, size : how many there are, and how many a minibatch has.
    device : where minibatches are used.
    ahead : how many iterations are drawn in threads at a time, after each of which the state can be saved: those from
        one evaluation to the next. None to draw in no threads.
    """

    def __init__(
        self,
        streams: Sequence[torch.Generator],
        trials: int,
        size: int,
        device: torch.device = CPU,
        ahead: int | None = None,
    ):
        self.streams, self.trials, self.size, self.ahead, self.device = streams, trials, size, ahead, device
        self.pool = ThreadPoolExecutor(THREADS) if ahead else None
        self.ready: list[Int[Tensor, "network trial"]] = []
        self.coming: list[Future] = []
        self.before_coming: list[Tensor] = []

    def take(self) -> Int[Tensor, "network trial"]:
        """The trials of the next iteration, on the device."""
        if self.pool is None:
            return torch.stack([self._draw(stream, 1)[0] for stream in self.streams]).to(self.device)
        if not self.ready:
            drawn = torch.stack([future.result() for future in self.coming or self._start(self.pool)], 1)
            if self.device.type == "cuda":
                drawn = drawn.pin_memory()  # copied without waiting for what the GPU still computes
            self.ready = list(reversed(drawn.to(self.device, non_blocking=True)))
            self._start(self.pool)
        return self.ready.pop()

    def state(self) -> list[Tensor]:
        """The states of the streams, for a checkpoint, when all that was drawn is used up."""
        assert not self.ready
        return self.before_coming if self.coming else [stream.get_state() for stream in self.streams]

    def load_state(self, states: Sequence[Tensor]) -> None:
        """Continue from the states of streams of the same networks."""
        for stream, state in zip(self.streams, states, strict=True):
            stream.set_state(state)

    def keep(self, rows: Sequence[int]) -> None:
        """Go on with some of the networks, when all that was drawn is used up."""
        assert not self.ready
        self.streams = [self.streams[row] for row in rows]
        if self.coming:
            self.coming = [self.coming[row] for row in rows]
            self.before_coming = [self.before_coming[row] for row in rows]

    def _start(self, pool: ThreadPoolExecutor) -> list[Future]:
        """Begin to draw the coming iterations."""
        self.before_coming = [stream.get_state() for stream in self.streams]
        self.coming = [pool.submit(self._draw, stream, self.ahead or 1) for stream in self.streams]
        return self.coming

    def _draw(self, stream: torch.Generator, iterations: int) -> Int[Tensor, "iteration trial"]:
        return torch.stack([torch.randperm(self.trials, generator=stream)[: self.size] for _ in range(iterations)])
