"""How far training is, for people: a line in the log every few seconds and, if wanted, a bar."""

import logging
import time
from collections.abc import Iterator, Mapping

import numpy as np
from tqdm import tqdm

log = logging.getLogger(__name__)


class Progress:
    """Counts iterations, with a line in the log every few seconds and, if wanted, a bar."""

    EVERY_SECONDS = 5.0

    def __init__(self, finished: int, iterations: int, bar: bool):
        self.finished, self.iterations = finished, iterations
        self.bar = tqdm(initial=finished, total=iterations, disable=not bar, unit="it")
        self.started = self.last_line = time.monotonic()

    def __iter__(self) -> Iterator[int]:
        with self.bar:
            for iteration in range(self.finished + 1, self.iterations + 1):
                self.bar.update()
                yield iteration

    def report(self, iteration: int, row: Mapping[str, np.ndarray], done: bool) -> None:
        """Say how far training is, from the latest evaluation (means over the networks)."""
        state = f"task loss {row['held_out_loss'].mean():.3f}, score {row['held_out_score'].mean():.3f}"
        for name in row:
            if name.startswith("multiplier"):
                values = row[name.replace("multiplier", "held_out_penalty", 1)].mean(0).round(3)
                term = name.removeprefix("multiplier").removeprefix("_") or "S"
                state += f", {term} {values}, multiplier {row[name].mean(0).round(3)}"
        self.bar.set_postfix_str(state)
        now = time.monotonic()
        if done or now - self.last_line >= self.EVERY_SECONDS:
            self.last_line = now
            rate = (iteration - self.finished) / (now - self.started)
            log.info(
                f"iteration {iteration}/{self.iterations}: {state}, {rate:.1f} it/s, "
                + ("done" if done else f"{(self.iterations - iteration) / rate:.0f} s left at most")
            )
