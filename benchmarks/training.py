"""One iteration of training beside that of the usual tools, on the same trials: one core, medians of runs in turn.

    python benchmarks/training.py

An iteration is a minibatch taken from the bank, private noise, simulation, readout, loss, gradient, clipping and a step
of Adam. PyTorch's own network and the one without noise draw none. JAX takes part where it is installed. The memory
that is freed stays with the process, as in the pipeline's jobs, which helps the peers, too.
"""

import importlib.util
import os
import tempfile
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch
import xarray as xr
from common import Bound, one_core, side_by_side, table, verdicts, write_section
from torch import Tensor

from insd.activity import record_activity
from insd.attempt import Attempt
from insd.bank import Bank
from insd.devices import CPU
from insd.jobs import reuse_freed_memory
from insd.networks.engine import bptt
from insd.objectives.base import Stored, join_earlier
from insd.objectives.settings.predictivity import PredictivitySettings
from insd.settings.recipe import Recipe
from insd.tasks.flip_flop import FlipFlop
from insd.training import train_round

TASK = FlipFlop()
BATCH, STEPS, REPEATS, CALLS = 64, 90, 15, 4
ALPHA = 0.2
NOISE = 0.05


def attempt(
    bank: xr.Dataset,
    units: int,
    noise: float = NOISE,
    earlier: Mapping[str, Stored] | None = None,
    networks: int = 1,
    device: torch.device = CPU,
) -> Attempt:
    """Training as the pipeline does it."""
    recipe = Recipe.model_validate(
        {
            "network": {"units": units, "recurrent_noise": noise},
            "training": {"iterations": 100_000, "batch_size": BATCH, "validation_trials": 64},
            "terms": {"predictivity": {"task_only": 0.0}},
        }
    )
    names = [("flip_flop", "benchmark", seed, int(earlier is not None), 0) for seed in range(networks)]
    return Attempt(TASK, bank, recipe, names, earlier or {}, device)


def ours(run: Attempt) -> Callable[[], object]:
    """One iteration of the pipeline's own training."""

    def step() -> None:
        run.iteration += 1
        run._step(run.iteration)
        run.step_sizes.step()

    return step


def without_compiled_loops(step: Callable[[], object]) -> Callable[[], object]:
    """The same where there was no C compiler."""

    def slower() -> None:
        compiled, bptt.COMPILED = bptt.COMPILED, None
        step()
        bptt.COMPILED = compiled

    return slower


class PlainRNN(torch.nn.Module):
    """The rate network as a loop over time that autograd takes apart."""

    def __init__(self, inputs: int, units: int, outputs: int):
        super().__init__()
        self.drive = torch.nn.Linear(inputs, units)
        self.recurrent = torch.nn.Linear(units, units, bias=False)
        self.initial = torch.nn.Parameter(torch.zeros(units))
        self.output = torch.nn.Linear(units, outputs)

    def forward(self, inputs: Tensor) -> Tensor:
        """Outputs (time, trial, output) for inputs (time, trial, input)."""
        drive = self.drive(inputs)
        noise = torch.randn_like(drive) * ((2 * ALPHA) ** 0.5 * NOISE)
        state = self.initial.expand(inputs.shape[1], -1)
        rates = []
        for at_time, private in zip(drive, noise, strict=True):
            state = (1 - ALPHA) * state + ALPHA * (self.recurrent(torch.tanh(state)) + at_time) + private
            rates.append(torch.tanh(state))
        return self.output(torch.stack(rates))


class TorchRNN(torch.nn.Module):
    """PyTorch's own network, without leak and noise."""

    def __init__(self, inputs: int, units: int, outputs: int):
        super().__init__()
        self.rnn = torch.nn.RNN(inputs, units)
        self.output = torch.nn.Linear(units, outputs)

    def forward(self, inputs: Tensor) -> Tensor:
        """Outputs (time, trial, output) for inputs (time, trial, input)."""
        return self.output(self.rnn(inputs)[0])


def usual(bank: xr.Dataset, network: torch.nn.Module, forward: Callable[[Tensor], Tensor]) -> Callable[[], object]:
    """One iteration as one writes it in PyTorch."""
    trials = Bank.from_trials(bank)
    parts = [part.contiguous() for part in (trials.inputs, trials.targets, trials.mask)]
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-3, fused=True)

    def step() -> None:
        chosen = torch.randperm(parts[0].shape[1])[:BATCH]
        inputs, targets, mask = (part[:, chosen] for part in parts)
        loss = ((forward(inputs) - targets).square() * mask).sum() / mask.sum()
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()

    return step


def jax_scan(bank: xr.Dataset, units: int, networks: int | None = None) -> Callable[[], object]:
    """One iteration of the rate network by `lax.scan` under `jit`, with Adam in the same function; of several networks
    side by side by `vmap`.
    """
    import jax  # noqa: PLC0415
    import jax.numpy as jnp  # noqa: PLC0415
    import numpy as np  # noqa: PLC0415

    parts = [jnp.asarray(bank[name].values.transpose(1, 0, 2)) for name in ("inputs", "targets", "mask")]
    n_inputs, n_outputs = parts[0].shape[-1], parts[1].shape[-1]
    random = np.random.default_rng(0)
    shapes = {
        "recurrent": (units, units),
        "input": (n_inputs, units),
        "output": (units, n_outputs),
        "bias": (units,),
        "output_bias": (n_outputs,),
        "initial": (units,),
    }
    several = () if networks is None else (networks,)
    weights = {
        name: jnp.asarray(random.standard_normal((*several, *shape)) / units**0.5, jnp.float32)
        for name, shape in shapes.items()
    }

    def loss_of(weights: Any, inputs: Any, targets: Any, mask: Any, noise: Any) -> Any:
        def advance(state: Any, now: Any) -> Any:
            drive, private = now
            state = (1 - ALPHA) * state + ALPHA * (jnp.tanh(state) @ weights["recurrent"] + drive) + private
            return state, jnp.tanh(state)

        drive = inputs @ weights["input"] + weights["bias"]
        start = jnp.broadcast_to(weights["initial"], (BATCH, units))
        _, rates = jax.lax.scan(advance, start, (drive, noise))
        outputs = rates @ weights["output"] + weights["output_bias"]
        return (jnp.square(outputs - targets) * mask).sum() / mask.sum()

    def update(weights: Any, first: Any, second: Any, count: Any, key: Any) -> Any:
        key, of_trials, of_noise = jax.random.split(key, 3)
        chosen = jax.random.permutation(of_trials, parts[0].shape[1])[:BATCH]
        inputs, targets, mask = (part[:, chosen] for part in parts)
        noise = jax.random.normal(of_noise, (STEPS, BATCH, units)) * ((2 * ALPHA) ** 0.5 * NOISE)
        gradient = jax.grad(loss_of)(weights, inputs, targets, mask, noise)
        norm = jnp.sqrt(sum(jnp.square(g).sum() for g in jax.tree.leaves(gradient)))
        gradient = jax.tree.map(lambda g: g * jnp.minimum(1.0, 1.0 / norm), gradient)
        count = count + 1
        first = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, first, gradient)
        second = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, second, gradient)
        weights = jax.tree.map(
            lambda w, m, v: w - 1e-3 * (m / (1 - 0.9**count)) / (jnp.sqrt(v / (1 - 0.999**count)) + 1e-8),
            *(weights, first, second),
        )
        return weights, first, second, count, key

    zero = jax.tree.map(jnp.zeros_like, weights)
    if networks is None:
        state, whole = [weights, zero, zero, jnp.zeros(()), jax.random.key(0)], jax.jit(update)
    else:
        keys = jax.random.split(jax.random.key(0), networks)
        state, whole = [weights, zero, zero, jnp.zeros(networks), keys], jax.jit(jax.vmap(update))

    def step() -> None:
        state[:] = jax.block_until_ready(whole(*state))

    return step


def floor(units: int, inputs: int, outputs: int) -> Callable[[], object]:
    """The matrix products of an iteration: input drive, recurrence, readout, and the gradient of each."""
    samples = STEPS * BATCH
    step, states, rates = torch.randn(units, units) / units, torch.zeros(STEPS, BATCH, units), torch.randn(units)
    rates = torch.randn(STEPS, BATCH, units)
    drive, weights = torch.randn(samples, inputs), torch.randn(inputs, units)
    readout, errors = torch.randn(units, outputs), torch.randn(samples, outputs)
    flat = rates.view(samples, units)
    into = [torch.empty(units, units), torch.empty(inputs, units), torch.empty(samples, units)]
    outputs_into, readout_into = torch.empty(samples, outputs), torch.empty(outputs, units)
    at_time = list(zip(rates, states, strict=True))

    def products() -> None:
        torch.mm(drive, weights, out=into[2])
        for rate, state in at_time:
            torch.mm(rate, step, out=state)
        torch.mm(flat, readout, out=outputs_into)
        torch.mm(errors, readout.T, out=into[2])
        torch.mm(errors.T, flat, out=readout_into)
        for rate, state in at_time:
            torch.mm(rate, step, out=state)
        torch.mm(flat.T, flat, out=into[0])
        torch.mm(drive.T, flat, out=into[1])

    return products


def iteration(units: int, bank: xr.Dataset) -> list[list[object]]:
    """One row per tool, at one size of network."""
    n_inputs, n_outputs = bank.sizes["input"], bank.sizes["output"]
    plain = PlainRNN(n_inputs, units, n_outputs)
    torch_rnn = TorchRNN(n_inputs, units, n_outputs)
    functions = {
        "INSD": ours(attempt(bank, units)),
        "INSD without private noise": ours(attempt(bank, units, noise=0.0)),
        "INSD without compiled loops": without_compiled_loops(ours(attempt(bank, units))),
        "floor": floor(units, n_inputs, n_outputs),
        "plain autograd": usual(bank, plain, plain),
        "`torch.nn.RNN` (no leak, no noise)": usual(bank, torch_rnn, torch_rnn),
    }
    if importlib.util.find_spec("jax"):
        functions["JAX, `lax.scan` and `jit`"] = jax_scan(bank, units)
    network = PlainRNN(n_inputs, units, n_outputs)
    compiled = usual(bank, network, torch.compile(network))
    start = time.perf_counter()
    compiled()
    compiling = time.perf_counter() - start
    functions["`torch.compile` of plain autograd"] = compiled
    found = side_by_side(functions, REPEATS, CALLS)
    rows: list[list[object]] = []
    for name, seconds in found.items():
        note = f", {compiling:.0f} s to compile" if "torch.compile" in name else ""
        rows.append(
            [units, name + note, f"{1e3 * seconds:.1f}"] + [f"{seconds / found[of]:.2f}" for of in ("INSD", "floor")]
        )
    return rows


def deflated(bank: xr.Dataset) -> list[list[object]]:
    """Iterations with 0, 1 and 2 earlier networks of the same task, briefly trained, beside the products they add."""
    recipe = Recipe.model_validate({"training": {"iterations": 300, "restarts": 0, "validation_trials": 64}})
    files, activities = [], []
    for seed in range(2):
        network, _ = train_round(TASK, bank, recipe, [("flip_flop", "benchmark", seed, 0)])
        activity = record_activity(network, TASK, bank, bank, recipe.terms)
        activities.append(activity.assign_coords(seed=[0]))
        files.append(f"seed {seed}")
    functions = {0: ours(attempt(bank, 100))}
    components = {0: 0}
    for count in (1, 2):
        earlier = join_earlier(recipe.terms, activities[:count], bank, files[:count])
        functions[count] = ours(attempt(bank, 100, earlier=earlier))
        components[count] = earlier["predictivity"].of_networks["components"].shape[-1]
    named = {f"{count} earlier": function for count, function in functions.items()}
    stride = PredictivitySettings().time_stride
    rates = torch.randn(-(-STEPS // stride) * BATCH, 100)
    stored = torch.randn(len(rates), components[2])
    gram, cross, weights = torch.empty(100, 100), torch.empty(components[2], 100), torch.randn(100, components[2])
    residual, grad = torch.empty_like(stored), torch.empty_like(rates)

    def products() -> None:
        torch.mm(rates.T, rates, out=gram)
        torch.mm(stored.T, rates, out=cross)
        torch.mm(rates, weights, out=residual)
        torch.mm(residual, weights.T, out=grad)

    found = side_by_side({**named, "products": products}, REPEATS, CALLS)
    plain = found["0 earlier"]
    rows = [
        [count, components[count], f"{1e3 * found[f'{count} earlier']:.1f}", f"{found[f'{count} earlier'] / plain:.2f}"]
        for count in functions
    ]
    rows.append(
        ["the products that 2 add", components[2], f"{1e3 * found['products']:.1f}", f"{found['products'] / plain:.2f}"]
    )
    return rows


def main() -> None:
    """Measure and write both sections."""
    one_core()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    # What an earlier run compiled would hide what compiling takes, and may be broken if that was stopped.
    folder = tempfile.TemporaryDirectory()
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = folder.name
    # As jobs do; it helps the peers, too.
    reuse_freed_memory()
    bank = TASK.sample("train", 512, 0).assign_attrs(fingerprint="of the benchmark")
    rows = [row for units in (64, 100, 256) for row in iteration(units, bank)]
    packages = ["torch", "numpy", *(["jax"] if importlib.util.find_spec("jax") else [])]
    by_tool = {(row[0], str(row[1])): row for row in rows}
    faster = {
        name: float(str(by_tool[100, name][3])) for name in ("plain autograd", "`torch.nn.RNN` (no leak, no noise)")
    }
    over_floor = float(str(by_tool[100, "INSD"][4]))
    bounds = [
        Bound(f"at least {least} times as fast as {name}{aim}", f"{faster[name]:.2f}", faster[name] >= least)
        for (name, aim), least in zip(
            (("plain autograd", " (aim 4)"), ("`torch.nn.RNN` (no leak, no noise)", "")), (2.7, 1.5), strict=True
        )
    ]
    bounds.append(Bound("at most 2.2 times the floor (aim 1.6)", f"{over_floor:.2f}", over_floor <= 2.2))
    write_section(
        "An iteration of training",
        f"3-bit flip-flop, {BATCH} trials of {STEPS} steps, one network.\n\n"
        + table(["units", "tool", "ms", "in iterations of INSD", "in floors"], rows)
        + "\nAt 100 units:\n\n"
        + verdicts(bounds),
        packages,
    )
    rows = deflated(bank)
    ratio, products = float(str(rows[2][3])), float(str(rows[3][3]))
    bound = Bound(
        "at most 1.3 plain iterations with two earlier networks",
        f"{ratio:.2f}",
        ratio <= 1.3,
        f"the products that the penalty adds take {products:.2f} of a plain iteration by themselves",
    )
    write_section(
        "A deflated iteration",
        "The same with earlier networks of the task, 100 units, every second time step.\n\n"
        + table(["earlier networks", "components", "ms", "in plain iterations"], rows)
        + "\n"
        + verdicts([bound]),
    )


if __name__ == "__main__":
    main()
