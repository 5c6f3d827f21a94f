"""A computation on a GPU that is repeated with other numbers, started as a whole."""

import logging
from collections.abc import Callable

import torch
from torch import Tensor

log = logging.getLogger(__name__)

Function = Callable[..., dict[str, Tensor]]
"""What is captured: a function of tensors."""


class Captured:
    """A function of tensors and numbers that gives tensors by name, run as one CUDA graph after its first few calls.

    Starting hundreds of short kernels one by one takes the host longer than the GPU takes to run them. A graph starts
    them all at once, in the memory in which they were captured. What the function does besides, in Python, happens only
    in the first calls: all that changes from call to call must be in its arguments, as numbers that it gets as tensors,
    or in tensors that it changes in place. A function that waits for the GPU cannot be captured, and runs as it is.
    """

    WARM_UP = 3
    """Libraries that it calls must have been called before."""

    def __init__(self) -> None:
        self.calls = 0
        self.arguments: list[Tensor] = []
        self.results: dict[str, Tensor] = {}
        self.graph: torch.cuda.CUDAGraph | None = None
        self.possible = True

    def __call__(self, function: Function, first: Tensor, *numbers: int | float) -> dict[str, Tensor]:
        """What the function, the same in all calls, gives for a tensor on the GPU and some numbers."""
        if not self.arguments:
            self.arguments = [first.clone(), *(torch.tensor(number, device=first.device) for number in numbers)]
        self.arguments[0].copy_(first)
        for argument, number in zip(self.arguments[1:], numbers, strict=True):
            argument.fill_(number)
        if self.graph is None and self.calls == self.WARM_UP and self.possible:
            self._capture(function)
        self.calls += 1
        if self.graph is None:
            return function(*self.arguments)
        self.graph.replay()
        return {name: values.clone() for name, values in self.results.items()}

    def _capture(self, function: Function) -> None:
        graph = torch.cuda.CUDAGraph()
        try:
            # Gradients run in a thread of their own, while the one that asked for them waits.
            with torch.cuda.graph(graph, capture_error_mode="thread_local"):
                self.results = function(*self.arguments)
        except RuntimeError as error:
            self.possible = False
            log.info("iterations are not captured (%s)", str(error).splitlines()[0])
        else:
            self.graph = graph
