"""A check that an architecture keeps what training, files and analyses rely on."""

import copy
import math
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
import xarray as xr
from torch import Tensor

from insd import datasets
from insd.errors import InsdError, refusing
from insd.networks.base import READOUT, Additive, Connected, Flowing, Networks, load_networks
from insd.networks.engine.bptt import Workspace
from insd.networks.settings.base import NetworkSettings

_COUNT, _TIMES, _TRIALS, _INPUTS, _OUTPUTS = 2, 6, 4, 3, 2
_DT_OVER_TAU = 0.2
STEP = 1e-6
"""Of differences in double precision."""


class ArchitectureError(InsdError):
    """A class cannot serve as an architecture; the message names it, what is wrong and what to do."""


_must = refusing(ArchitectureError)


def check_networks(architecture: type[Networks], **settings: Any) -> None:
    """Check an architecture on a few small networks with these settings: `units`, 5 without them, and keys of its own.

    Checked are the shapes of weights and rates against what is declared, random streams, gradients against differences
    in double precision, networks side by side against each alone, workspaces, what files keep, and for networks that
    flow the simulation against the force. An architecture that trains with a surrogate gradient has a method `smoothed`
    for it: the same networks with the function in place whose derivative the surrogate is. Raises ArchitectureError at
    the first that fails.
    """
    name = architecture.__name__
    _declared(architecture)
    chosen = architecture.Settings(**{"architecture": architecture.architecture, "units": 5} | settings)
    _initialised(architecture, chosen)
    networks = _made(architecture, chosen, range(_COUNT)).double()
    # Small biases and initial states start at zero, where errors would not show.
    for parameter in networks.parameters():
        parameter.data += 0.1 * torch.randn(parameter.shape, dtype=torch.float64, generator=_stream(9))
    inputs = torch.randn(_COUNT, _TIMES, _TRIALS, _INPUTS, dtype=torch.float64, generator=_stream(10))
    states = networks.initial_state.shape[1]
    noise = 0.1 * torch.randn(_COUNT, _TIMES, _TRIALS, states, dtype=torch.float64, generator=_stream(11))
    with torch.no_grad():
        rates = networks(inputs, noise).clone()
        _must(
            rates.shape == (_COUNT, _TIMES, _TRIALS, chosen.units), name, f"rates have the shape {tuple(rates.shape)}"
        )
        _must(bool(torch.isfinite(rates).all()), name, "rates are not finite")
        silent = networks(inputs, torch.zeros_like(noise))
        _close(name, "noise of zeros changes the rates", silent, networks(inputs))
        _outputs(name, networks, inputs, noise, rates)
        _alone(networks, inputs, noise, rates)
        if isinstance(networks, Flowing):
            _flows(name, networks, inputs, noise, rates)
    # Spikes have no derivative: what trains with a surrogate is checked as the smooth networks that it is of.
    smooth = getattr(networks, "smoothed", lambda: networks)()
    for every in (None, 2):
        _gradients(name, smooth, inputs, noise, every)
    _files(networks, chosen, inputs)


def _declared(architecture: type[Networks]) -> None:
    name = architecture.__name__
    _must(issubclass(architecture.Settings, NetworkSettings), name, "`Settings` must derive from NetworkSettings")
    _must(hasattr(architecture, "dimensions"), name, "declares no `dimensions` of its weights")
    for weights, along in READOUT.items():
        _must(architecture.dimensions.get(weights) == along, name, f"`dimensions` must have '{weights}' along {along}")
    initial = architecture.dimensions.get("initial_state", ())
    _must(len(initial) == 2, name, "`dimensions` must have 'initial_state' along ('seed', DIMENSION)")
    for weights in architecture.parameter_names():
        _must(not hasattr(architecture, weights), name, f"'{weights}' is the name of a method; rename these weights")
        along = architecture.dimensions.get(weights, ())
        _must(len(along) != 1, name, f"'{weights}' needs a dimension besides 'seed', if only of size 1, to be trained")
    for weights, along in architecture.dimensions.items():
        _must(
            along[0] == "seed" and len(set(along)) == len(along),
            name,
            f"'{weights}' needs 'seed', then distinct others",
        )


def _initialised(architecture: type[Networks], settings: NetworkSettings) -> None:
    name = architecture.__name__
    together = _made(architecture, settings, range(_COUNT))
    _must(isinstance(getattr(together, "nonlinearity", None), str), name, "`nonlinearity` must name a function")
    # In a block of two, and alone: each network's stream gives it the same weights.
    alone = _made(architecture, settings, [1])
    for weights, values in alone.weights().items():
        same = torch.equal(together.weights()[weights][1:], values)
        _must(same, name, f"initial '{weights}' depend on more than the network's own stream")
    sizes = {"seed": _COUNT, "unit": settings.units, "unit_from": settings.units, "input": _INPUTS, "output": _OUTPUTS}
    stored = together.stored_weights(together.weights())
    _must(
        set(stored) == set(architecture.dimensions), name, f"stores {sorted(stored)}, which `dimensions` must declare"
    )
    for weights, along in architecture.dimensions.items():
        shape = tuple(stored[weights].shape)
        _must(len(shape) == len(along), name, f"'{weights}' has the shape {shape}, for {along}")
        for dimension, size in zip(along, shape, strict=True):
            expected = sizes.setdefault(dimension, size)
            _must(size == expected, name, f"'{weights}' has the size {size} along '{dimension}', not {expected}")
    if settings.recurrent_noise:
        block, one = (
            made.draw_noise(3, 4, streams) for made, streams in ((together, _streams(range(2))), (alone, _streams([1])))
        )
        assert block is not None and one is not None
        _must(torch.equal(block[1:], one), name, "noise depends on more than the network's own stream")
    if isinstance(together, Connected):
        square = (_COUNT, settings.units, settings.units)
        _must(
            tuple(together.recurrent_weights.shape) == square, name, f"`recurrent_weights` must have the shape {square}"
        )


def _outputs(name: str, networks: Networks, inputs: Tensor, noise: Tensor, rates: Tensor) -> None:
    workspace = Workspace()
    for every in (None, 1, 2):
        for memory in (None, workspace):
            outputs, sampled = networks.outputs(inputs, noise, every, memory)
            _close(name, "`outputs` are not the readout of the rates", outputs, networks.readout(rates))
            if every:
                assert sampled is not None
                _close(name, f"`outputs` gives other rates at every {every}", sampled, rates[:, ::every])


def _alone(networks: Networks, inputs: Tensor, noise: Tensor, rates: Tensor) -> None:
    for network in range(_COUNT):
        part = slice(network, network + 1)
        one = copy.deepcopy(networks)
        for parameter in one.parameters():
            parameter.data = parameter.data[part]
        _close(
            type(networks).__name__,
            "a network side by side differs from itself alone",
            one(inputs[part], noise[part]),
            rates[part],
        )


def _flows(name: str, networks: Flowing, inputs: Tensor, noise: Tensor, rates: Tensor) -> None:
    simulated, states = networks.simulate(inputs, noise, states=True)
    _close(name, "`forward` is not the Euler map of `force`", simulated, rates)
    _close(name, "`rates_of` the states are not the rates", networks.rates_of(states), rates)
    if isinstance(networks, Additive):
        at = states[:, 0]
        difference = (networks.rates_of(at + STEP) - networks.rates_of(at - STEP)) / (2 * STEP)
        _close(name, "`slopes_of` is not the derivative of `rates_of`", networks.slopes_of(at), difference, 1e-6)


def _gradients(name: str, networks: Networks, inputs: Tensor, noise: Tensor, every: int | None) -> None:
    """Derivatives along one random direction per parameter, by backpropagation and by differences."""
    stream = _stream(12)

    def loss(workspace: Workspace | None = None) -> Tensor:
        outputs, sampled = networks.outputs(inputs, noise, every, workspace)
        value = (outputs * torch.linspace(-1, 1, outputs.numel(), dtype=torch.float64).view_as(outputs)).sum()
        return value if sampled is None else value + sampled.square().sum()

    for workspace in (None, Workspace()):
        networks.zero_grad()
        loss(workspace).backward()
        for weights in networks.parameter_names():
            parameter = getattr(networks, weights)
            _must(parameter.grad is not None, name, f"'{weights}' gets no gradient")
            direction = torch.randn(parameter.shape, dtype=torch.float64, generator=stream)
            found = (parameter.grad * direction).sum()
            expected = _difference(parameter, direction, loss)
            _close(name, f"the gradient of '{weights}' is wrong", found, expected, 1e-5)


def _difference(parameter: Tensor, direction: Tensor, loss: Callable[[], Tensor]) -> Tensor:
    values = []
    with torch.no_grad():
        for sign in (1, -1):
            parameter += sign * STEP * direction
            values.append(loss())
            parameter -= sign * STEP * direction
    return (values[0] - values[1]) / (2 * STEP)


def _files(networks: Networks, settings: NetworkSettings, inputs: Tensor) -> None:
    """Written, read and loaded again, networks have the same rates."""
    name = type(networks).__name__
    single = networks.float()
    stored = single.stored_weights(single.weights())
    file = xr.Dataset(
        {weights: (along, stored[weights].numpy()) for weights, along in single.dimensions.items()}
        | {"restarts": ("seed", [0] * _COUNT)},
        coords={"seed": range(_COUNT)},
        attrs={"dt": _DT_OVER_TAU * settings.tau, "tau": settings.tau, "settings": "", **single.attributes()},
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "network.nc")
        datasets.write(file, path, "network")
        again = datasets.read(path, "network")
    loaded = load_networks([again], again.attrs["dt"])
    with torch.no_grad():
        here, there = single(inputs.float()), loaded(inputs.float())
    _close(
        name, "networks read from a file have other rates; name what they depend on in `constants`", there, here, 1e-5
    )


def _made(architecture: type[Networks], settings: NetworkSettings, seeds: Sequence[int]) -> Networks:
    return architecture.initialise(settings, _INPUTS, _OUTPUTS, _DT_OVER_TAU, _streams(seeds))


def _streams(seeds: Sequence[int]) -> list[torch.Generator]:
    return [_stream(seed) for seed in seeds]


def _stream(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _close(name: str, message: str, found: Tensor, expected: Tensor, tolerance: float = 1e-9) -> None:
    if found.shape != expected.shape:
        raise ArchitectureError(f"{name}: {message}: shape {tuple(found.shape)}, expected {tuple(expected.shape)}")
    largest = float(expected.abs().max())
    off = float((found - expected).abs().max())
    if not off <= tolerance * max(largest, 1.0) or math.isnan(off):
        raise ArchitectureError(f"{name}: {message}: by {off:.2g}, of up to {largest:.2g}")
