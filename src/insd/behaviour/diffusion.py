"""Diffusion of behaviour: noise turns a response into a standard normal step by step, and is undone step by step.

The response ``x_0`` is a point in a plane. For t = 1 .. T,

    x_t = sqrt(1 - sigma_t^2) x_{t-1} + sigma_t eta_t,   so that   x_t = a_t x_0 + b_t eps,
    a_t = prod_{u <= t} sqrt(1 - sigma_u^2),   b_t = sqrt(1 - a_t^2).

A network reports by running this backwards: its behaviour starts as noise, and each step of the network takes ``x_t``
to the mean of ``x_{t-1}``, to which noise is added. Steps are counted as noise is added: arrays over steps begin with
t = 1, which is the last step of a report.

Sources: Ho et al. (2020), "Denoising diffusion probabilistic models"; for behaviour of networks: "Setting up for
failure" (arXiv 2512.04808).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

MOST_LEFT = 0.15
"""The largest ``a_T`` of a schedule: with more, a report does not start from the standard normal that is drawn."""
LEFT = 0.1
"""The ``a_T`` of a schedule whose last variance is not given (ours; that of the publication is .031)."""


@dataclass(frozen=True)
class Schedule:
    """How much noise each step adds: ``sigma_t^2`` for t = 1 .. T, each between 0 and 1.

    Raises ValueError for other variances, and for a schedule that does not end in noise (`MOST_LEFT`).
    """

    variances: Float[np.ndarray, "step"]

    def __post_init__(self) -> None:
        if not len(self.variances) or not ((self.variances > 0) & (self.variances < 1)).all():
            ends = ", ".join(f"{one:.3g}" for one in (*self.variances[:1], *self.variances[1:][-1:]))
            raise ValueError(f"variances from the first to the last ({ends}): all must be between 0 and 1")
        if self.kept[-1] > MOST_LEFT:
            raise ValueError(
                f"after {len(self.variances)} steps of noise, {self.kept[-1]:.2f} of the response is left, more than "
                f"{MOST_LEFT}: a report does not start from pure noise then; add steps or raise the last variance"
            )

    @classmethod
    def linear(cls, steps: int, first: float = 0.01, last: float | None = None) -> "Schedule":
        """Variances that rise linearly.

        In the publication, to .30 in 40 steps. Fewer steps must end in more: without `last`, it is chosen such that
        ``a_T`` is `LEFT`. The larger the steps, the less is ``x_{t-1}`` normal given ``x_t``, as a report takes it to
        be: of two modes, the larger one gains, whatever the network.

        Raises ValueError if there are too few steps, or if the variances given do not end in noise.
        """
        if last is None:

            def excess(last: float) -> float:
                return float(np.log1p(-np.linspace(first, last, steps)).sum() / 2 - np.log(LEFT))

            if steps < 2 or not 0 < first < 1 or excess(first) < 0 or excess(1 - 1e-9) > 0:
                raise ValueError(f"{steps} steps from a variance of {first}: none that rise linearly end in noise")
            low, high = first, 1 - 1e-9
            for _ in range(60):
                last = (low + high) / 2
                low, high = (last, high) if excess(last) > 0 else (low, last)
            last = high
        return cls(np.linspace(first, last, steps))

    @property
    def kept(self) -> Float[np.ndarray, "step"]:
        """``a_t``: the share of the response that is left."""
        return np.sqrt(np.cumprod(1 - self.variances))

    @property
    def noise(self) -> Float[np.ndarray, "step"]:
        """``b_t``: the standard deviation of all noise so far."""
        return np.sqrt(1 - self.kept**2)

    @property
    def weights(self) -> tuple[Float[np.ndarray, "step"], Float[np.ndarray, "step"]]:
        """Those of ``x_t`` and of ``x_0`` in the mean of ``x_{t-1}`` given both (Ho et al. 2020, equation 7)."""
        before = np.sqrt(1 - self.variances)
        share = self.variances / (1 - self.kept**2)
        return (1 - share) / before, share * self.kept / before

    @property
    def sampling_sd(self) -> Float[np.ndarray, "step"]:
        """The standard deviation of ``x_{t-1}`` given ``x_t`` and ``x_0``, ``(b_{t-1} / b_t) sigma_t``; 0 for t = 1."""
        before = np.concatenate([[0.0], self.noise[:-1]])
        return before / self.noise * np.sqrt(self.variances)

    def noised(
        self, responses: Float[np.ndarray, "*trial"], random: np.random.Generator
    ) -> Float[np.ndarray, "step *trial"]:
        """``x_1 .. x_T`` of each response, one chain each.

        The steps of a chain share their noise: given ``x_t``, later steps say nothing more of ``x_0``. With new noise
        for each t, a network that remembers could average it away in training, but not when it reports.
        """
        chain, latest = [], np.asarray(responses, dtype=float)
        for variance in self.variances:
            latest = np.sqrt(1 - variance) * latest + np.sqrt(variance) * random.standard_normal(latest.shape)
            chain.append(latest)
        return np.stack(chain)

    def means(
        self, noised: Float[np.ndarray, "step *trial"], responses: Float[np.ndarray, "*trial"]
    ) -> Float[np.ndarray, "step *trial"]:
        """The mean of ``x_{t-1}`` given ``x_t`` and ``x_0`` for each t, which a step of the network should lead to.

        Equal to ``(x_t - (sigma_t^2 / b_t) eps) / sqrt(1 - sigma_t^2)`` with eps the noise in ``x_t``.
        """
        of_noised, of_response = (part.reshape(-1, *[1] * (noised.ndim - 1)) for part in self.weights)
        return of_noised * noised + of_response * responses

    def sample(
        self,
        step: Callable[[Float[np.ndarray, "*trial"], int], Float[np.ndarray, "*trial"]],
        shape: tuple[int, ...],
        random: np.random.Generator,
    ) -> Float[np.ndarray, "*trial"]:
        """Responses of this shape: ``x_T`` is noise, and ``step(x_t, t)`` gives the mean of ``x_{t-1}``."""
        behaviour = self.noise[-1] * random.standard_normal(shape)
        for t in range(len(self.variances), 0, -1):
            noise = self.sampling_sd[t - 1] * random.standard_normal(shape)
            behaviour = step(behaviour, t) + noise
        return behaviour
