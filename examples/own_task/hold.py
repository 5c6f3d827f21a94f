"""A task of your own in one file: hold the size of a pulse until the trial ends. Copy it and change it."""

from dataclasses import dataclass

import numpy as np
import xarray as xr

from insd.tasks import Duration, NotNegative, Task


@dataclass(frozen=True, kw_only=True)
class Hold(Task):
    """A pulse of random size comes at the start of a trial; the output is its size, from the end of the pulse on."""

    pulse: Duration = 0.2
    """Length of the pulse in s."""
    delay: Duration = 0.6
    """Time after the pulse in s."""
    noise: NotNegative = 0.05
    """Standard deviation of the input's noise per step of 20 ms."""

    def _sample(self, n_trials: int, random: np.random.Generator) -> xr.Dataset:
        time = np.arange(self.steps(self.pulse + self.delay))
        size = random.uniform(-1, 1, n_trials)
        shown = (time < self.steps(self.pulse))[None, :, None]  # (trial, time, input)
        held = np.broadcast_to(size[:, None, None], (n_trials, time.size, 1))
        mask = np.broadcast_to(~shown, held.shape)
        noise = self.step_noise(self.noise)
        return self.dataset(shown * held, held, mask, ["pulse"], ["size"], {"size": size}, noise=noise, random=random)
