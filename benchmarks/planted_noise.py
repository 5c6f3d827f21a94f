"""Is the noise of a planted stochastic low-rank network recovered from its observations?

A teacher of 20 units and rank 2 goes around a noisy limit cycle. Its M has orthonormal columns, so that the planted
standard deviation of the latent noise is that along both axes of its currents. A student is fitted to 200 trials of 75
steps; its noise is read after orthogonalisation (docs/low-rank-fits.md). Five minutes a seed on one core, with a
quarter of the epochs of Pals et al. and five times their step size.

    python benchmarks/planted_noise.py --seed 0
"""

import argparse
import math
import time

import numpy as np
import torch

from insd.dynamics.sequential_monte_carlo import FitSettings, fit, log_mean_weights
from insd.dynamics.stochastic_low_rank import StochasticLowRank, orthogonalised_noise

UNITS, TRIALS, HELD_OUT, STEPS = 20, 200, 50, 75
LATENT_NOISE, OBSERVATION_NOISE = 0.2, 0.1
TURN = math.radians(70)
"""Of what comes back from the units, against the state: with it the spiral around z = 0 is unstable."""


def teacher_of(seed: int) -> StochasticLowRank:
    """The teacher; its period is about 27 steps."""
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randn(UNITS, 2, generator=generator)
    left = torch.linalg.qr(drawn - drawn.mean(0))[0]
    turned = torch.tensor([[math.cos(TURN), -math.sin(TURN)], [math.sin(TURN), math.cos(TURN)]])
    teacher = StochasticLowRank(2, UNITS, torch.zeros(2, 1, UNITS), nonlinearity="clipped_relu")
    with torch.no_grad():
        teacher.left_vectors.copy_(left)
        teacher.right_vectors.copy_(0.55 * left @ turned.T)
        teacher.noise_factor.copy_(math.log(LATENT_NOISE) * torch.eye(2))
        teacher.log_noise.fill_(math.log(OBSERVATION_NOISE))
        teacher.bias.zero_()
    return teacher


def deviations(model: StochasticLowRank) -> np.ndarray:
    """Standard deviations of the latent noise along its principal axes, after orthogonalisation."""
    with torch.no_grad():
        parts = model.left_vectors, model.right_vectors, model.noise()
    covariance = orthogonalised_noise(*(part.detach().double().numpy() for part in parts))
    return np.sqrt(np.linalg.eigvalsh(covariance))


def bound(model: StochasticLowRank, observations: torch.Tensor) -> float:
    """In nats per step."""
    with torch.no_grad():
        found, _ = log_mean_weights(model, observations, observations[..., :0], 64)
    return float(found.mean())


def main() -> None:
    """Print what was planted, and what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=250)
    parser.add_argument("--step-size", type=float, default=0.005)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    teacher = teacher_of(arguments.seed)
    silent = torch.zeros(TRIALS + HELD_OUT, STEPS, 0)
    observations = teacher.generate(silent, torch.Generator().manual_seed(arguments.seed))[1]
    train, held_out = observations[:TRIALS], observations[TRIALS:]
    generator = torch.Generator().manual_seed(arguments.seed + 1)
    student = StochasticLowRank(2, UNITS, train, nonlinearity="clipped_relu", generator=generator)
    settings = FitSettings(epochs=arguments.epochs, step_size=arguments.step_size)
    start = time.perf_counter()
    history = fit(student, train, silent[:TRIALS], settings, arguments.seed)
    seconds = time.perf_counter() - start
    print(
        f"seed {arguments.seed}: {arguments.epochs} epochs in {seconds:.0f} s, objective {history[0]:.3f} to", end=" "
    )
    print(f"{history[-1]:.3f} nats per step; held out {bound(student, held_out):.3f}, the teacher's", end=" ")
    print(f"{bound(teacher, held_out):.3f}")
    print(f"latent noise: planted {deviations(teacher).round(3)}, found {deviations(student).round(3)}")
    print(
        f"observation noise: planted {OBSERVATION_NOISE}, found {student.log_noise.exp().mean().item():.3f} in the mean"
    )


if __name__ == "__main__":
    main()
