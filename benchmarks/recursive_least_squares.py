"""Students by recursive least squares in place of gradients: does that form serve?

Of each recorded unit, the recurrent current that its activity requires is known,

    f = (x[t] - (1 - alpha) x[t-1]) / alpha - W_in u[t].

The other units are given that of a random network which is driven by the targets (full-FORCE: DePasquale et al. 2018,
"full-FORCE: a target-based method for training recurrent networks"). While the student runs by itself, recurrent
weights and readout follow by recursive least squares, over several trials at once:

    G = P R' (I + R P R')^-1,   P <- P - G R P,   J' <- J' - G (R J' - F)

with the rates R (trial, unit) before a step and the currents F (trial, unit) required in it; the readout the same, by
the rates after it. Inputs are random and stay. Teachers are the references and first alternatives of the study `sparse`
(docs/sparse.md), whose folder of results is given; a row for each student.

    python benchmarks/recursive_least_squares.py sparse/results
"""

import argparse
from pathlib import Path

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float

from insd.activity import loss_and_score, simulate_trials
from insd.evaluation.teacher import Activity, of_student
from insd.predictivity import null_projector_array
from insd.recorded_units import recorded_units
from insd.tasks.flip_flop import FlipFlop

SHARES = (0, 1 / 8, 1 / 2)
BATCH = 16


class LeastSquares:
    """Weights that are fitted to batches of samples, one after the other; the last row is a bias."""

    def __init__(self, weights: Float[np.ndarray, "unit to"]):
        self.weights = np.vstack([weights, np.zeros(weights.shape[1])])
        self.inverse = np.eye(len(self.weights))

    def value(self, rates: Float[np.ndarray, "trial unit"]) -> Float[np.ndarray, "trial to"]:
        """What the weights make of rates."""
        return rates @ self.weights[:-1] + self.weights[-1]

    def follow(self, rates: Float[np.ndarray, "trial unit"], wanted: Float[np.ndarray, "trial to"]) -> None:
        """One batch."""
        error = self.value(rates) - wanted
        samples = np.hstack([rates, np.ones((len(rates), 1))])
        seen = self.inverse @ samples.T
        gain = np.linalg.solve(np.eye(len(samples)) + samples @ seen, seen.T).T
        self.inverse -= gain @ seen.T
        self.weights -= gain @ error


def student_of(teacher: xr.Dataset, share: float, bank: xr.Dataset, gain: float, epochs: int) -> xr.Dataset:
    """A student of some units of the teacher, as a dataset like it."""
    seed, units = int(teacher["seed"][0]), teacher.sizes["unit"]
    random = np.random.default_rng(seed)
    alpha = teacher.attrs["dt"] / teacher.attrs["tau"]
    recorded = recorded_units(units, share, seed)
    rates = simulate_trials(teacher, bank)[0].numpy()[0][..., recorded].astype(np.float64)
    inputs, targets = (bank[name].values.astype(np.float64) for name in ("inputs", "targets"))
    states = np.arctanh(rates.clip(-0.999, 0.999))
    start = np.zeros(units)
    start[recorded] = teacher["initial_state"].values[0][recorded]

    def drawn() -> np.ndarray:
        return gain * random.standard_normal((units, units)) / np.sqrt(units)

    input_weights, feedback = (random.uniform(-1, 1, (units, many.shape[-1])) for many in (inputs, targets))
    guide, recurrent = drawn(), LeastSquares(drawn())
    readout = LeastSquares(np.zeros((units, targets.shape[-1])))
    for _ in range(epochs):
        order = random.permutation(len(inputs))
        for batch in order[: len(order) // BATCH * BATCH].reshape(-1, BATCH):
            own, guiding = np.tile(start, (BATCH, 1)), np.zeros((BATCH, units))
            before = own[:, recorded]
            for time in range(inputs.shape[1]):
                driven = inputs[batch, time] @ input_weights.T
                wanted = np.tanh(guiding) @ guide.T + targets[batch, time] @ feedback.T
                guiding = (1 - alpha) * guiding + alpha * (wanted + driven)
                after = states[batch, time]
                wanted[:, recorded] = (after - (1 - alpha) * before) / alpha - driven[:, recorded]
                before, own_rates = after, np.tanh(own)
                own = (1 - alpha) * own + alpha * (recurrent.value(own_rates) + driven)
                recurrent.follow(own_rates, wanted)
                readout.follow(np.tanh(own), targets[batch, time])
    found = {
        "recurrent_weights": recurrent.weights[:-1].T,
        "bias": recurrent.weights[-1],
        "input_weights": input_weights,
        "output_weights": readout.weights[:-1].T,
        "output_bias": readout.weights[-1],
        "initial_state": start,
    }
    student = teacher.copy()
    for name, values in found.items():
        student[name] = (teacher[name].dims, values[None].astype(np.float32))
    return student


def activity_of(network: xr.Dataset, trials: xr.Dataset) -> tuple[Activity, float, float]:
    """Its activity, loss and score."""
    rates, outputs = simulate_trials(network, trials)
    losses, scores = loss_and_score(FlipFlop(), outputs, trials)
    own = rates.numpy()[0]
    null = own @ null_projector_array(network["output_weights"].values[0])
    return Activity(own, null, int(network["seed"][0])), float(losses[0]), float(scores[0])


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--gain", type=float, default=1.0)
    parser.add_argument("--epochs", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    folder = arguments.results / "flip_flop"
    bank, test = (xr.load_dataset(folder / f"trials/{name}.nc") for name in ("train", "test"))
    print("teacher, q: loss, score; r2 of null spaces to and from the teacher, to recorded units, to the others")
    for seed in range(arguments.seeds):
        for round_number in (0, 1):
            teacher = xr.load_dataset(folder / f"insd/seeds-{seed}/round-{round_number}/network.nc")
            known = activity_of(teacher, test)[0]
            for share in SHARES:
                student = student_of(teacher, share, bank, arguments.gain, arguments.epochs)
                own, loss, score = activity_of(student, test)
                found = of_student(own, known, share)
                values = ", ".join(f"{value:.2f}" for name, value in found.items() if name.startswith("r2"))
                print(f"insd/{seed}/{round_number}, {share:g}: {loss:.3f}, {score:.3f}; {values}", flush=True)


if __name__ == "__main__":
    main()
