"""A check that a term keeps what training, files and later rounds rely on."""

from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from insd.errors import refusing
from insd.networks.base import Networks, initialise
from insd.networks.settings.base import network_settings
from insd.objectives.base import Stored, Term, TermError
from insd.objectives.settings.base import TermSettings

_COUNT, _EARLIER, _TIMES, _TRIALS, _UNITS, _INPUTS, _OUTPUTS = 2, 2, 12, 8, 6, 3, 2
_DT, _TAU = 0.02, 0.1
STEP = 1e-6
"""Of differences in double precision."""
_must = refusing(TermError)


def check_term(term: type[Term], **settings: Any) -> None:
    """Check a term on a few small networks, with these keys of its settings.

    Checked are its declarations, what it stores of networks and finds again, the shape of its value, that the value of
    a network does not depend on those alongside it nor on what rates do after the end of a trial, and its gradient in
    the rates and in the weights against differences in double precision. Raises TermError at the first that fails.
    """
    name = term.__name__
    _must(issubclass(term.Settings, TermSettings), name, "its Settings are not a subclass of TermSettings")
    made = term(term.Settings(**settings))
    compares = made.settings.compares
    _must(
        compares == bool(term.variables),
        name,
        "it compares networks with earlier ones (Settings.compares) but keeps no variables of them, or the reverse",
    )
    bank = _bank()
    stored = _joined(made, bank) if compares else Stored()
    networks = _networks(range(_COUNT)).double()
    chosen = torch.stack([torch.randperm(_TRIALS, generator=_stream(20 + one))[:5] for one in range(_COUNT)])
    rates = _rates(networks, bank, chosen)[:, :: stored.every].detach().requires_grad_()
    value = made.value(rates, networks, _double(stored), chosen, None)
    expected = (_COUNT, _EARLIER if compares else 1)
    _must(value.shape == expected, name, f"its value has the shape {tuple(value.shape)}, expected {expected}")
    _must(bool(torch.isfinite(value).all()), name, "its value is not finite")
    _must(
        value.requires_grad,
        name,
        "its value depends neither on the rates nor on the weights by operations that PyTorch can follow",
    )

    if made.multiplies:
        factors = made.factors(value)
        _must(
            factors.shape == expected, name, f"its factors have the shape {tuple(factors.shape)}, expected {expected}"
        )
        positive = bool(torch.isfinite(factors).all() and (factors > 0).all())
        _must(positive, name, "its factors are not all positive and finite")

    moved = [rates, *networks.parameters()]
    stream = _stream(30)
    directions = [torch.randn(one.shape, dtype=one.dtype, generator=stream) for one in moved]
    gradients = torch.autograd.grad(value.sum(), moved, materialize_grads=True)
    ends = []
    with torch.no_grad():
        for sign in (1, -2, 1):
            for part, direction in zip(moved, directions, strict=True):
                part.add_(direction, alpha=sign * STEP)
            ends.append(made.value(rates, networks, _double(stored), chosen, None).sum())
    difference = float(ends[0] - ends[1]) / (2 * STEP)
    found = sum(float((gradient * along).sum()) for gradient, along in zip(gradients, directions, strict=True))
    scale = max(abs(difference), max(float(gradient.norm()) for gradient in gradients) * 1e-3, 1e-9)
    close = abs(found - difference) <= 1e-4 * scale
    _must(close, name, f"its gradient is {found:.6g} where differences give {difference:.6g}")

    for one in range(_COUNT):
        alone = made.value(rates[[one]], _networks([one]).double(), _double(stored.select([one])), chosen[[one]], None)
        off = float((alone - value[[one]]).detach().abs().max())
        _must(off <= 1e-6, name, f"the value of a network alone differs by {off:.2g} from that in a block")

    lasts = torch.arange(rates.shape[1]) < torch.tensor([rates.shape[1], max(rates.shape[1] // 2, 1)] * 3)[:5, None]
    valid = lasts.T.expand(_COUNT, -1, -1).double()
    with torch.no_grad():
        padded = [
            made.value(rates + after * (1 - valid)[..., None], networks, _double(stored), chosen, valid)
            for after in (0.0, 1.0)
        ]
    off = float((padded[0] - padded[1]).abs().max())
    _must(
        off <= 1e-6, name, f"its value changes by {off:.2g} with the rates after the end of trials, where `valid` is 0"
    )


def _joined(term: Term, bank: xr.Dataset) -> Stored:
    """What the term reads of two earlier rounds."""
    name = type(term).__name__
    rounds = []
    for earlier in range(_EARLIER):
        stored = term.stores(_file(_networks(range(40 + 10 * earlier, 40 + 10 * earlier + _COUNT))), bank)
        _must(stored is not None, name, "it stores nothing of a network")
        assert stored is not None
        for variable, dimensions in term.variables.items():
            _must(variable in stored, name, f"it does not store its variable '{variable}'")
            found = stored[variable].dims
            _must(found == dimensions, name, f"it stores '{variable}' with {found}, and declares {dimensions}")
            _must(bool(np.isfinite(stored[variable]).all()), name, f"it stores '{variable}' that is not finite")
        rounds.append(stored.assign_attrs(bank_fingerprint="bank"))
    joined = term.join(rounds, bank, [f"round {number}" for number in range(_EARLIER)])
    _must(joined.earlier == _EARLIER, name, f"it finds {joined.earlier} earlier rounds of {_EARLIER}")
    _must(1 <= joined.every <= _TIMES, name, f"it asks for rates at every {joined.every}-th of {_TIMES} times")
    for variable, values in joined.of_networks.items():
        _must(len(values) == _COUNT, name, f"'{variable}' of {_COUNT} networks has {len(values)} along its first axis")
    return joined


def _bank() -> xr.Dataset:
    random = np.random.default_rng(0)
    return xr.Dataset(
        {
            "inputs": (
                ("trial", "time", "input"),
                random.standard_normal((_TRIALS, _TIMES, _INPUTS)).astype(np.float32),
            ),
            "targets": (("trial", "time", "output"), np.zeros((_TRIALS, _TIMES, _OUTPUTS), np.float32)),
            "mask": (("trial", "time", "output"), np.ones((_TRIALS, _TIMES, _OUTPUTS), np.float32)),
        },
        coords={"time": _DT * np.arange(1, _TIMES + 1)},
        attrs={"dt": _DT, "fingerprint": "bank"},
    )


def _networks(seeds: Any) -> Networks:
    settings = network_settings({"units": _UNITS, "gain": 1.5, "tau": _TAU})
    return initialise(settings, _INPUTS, _OUTPUTS, _DT / _TAU, [_stream(seed) for seed in seeds])


def _file(networks: Networks) -> xr.Dataset:
    return xr.Dataset(
        {name: (along, networks.weights()[name].numpy()) for name, along in networks.dimensions.items()},
        coords={"seed": range(_COUNT)},
        attrs={"dt": _DT, "tau": _TAU, **networks.attributes()},
    )


def _rates(networks: Networks, bank: xr.Dataset, chosen: Tensor) -> Tensor:
    inputs = torch.from_numpy(bank["inputs"].values).double()[chosen].transpose(1, 2)
    with torch.no_grad():
        return networks(inputs).clone()


def _double(stored: Stored) -> Stored:
    parts = [{name: values.double() for name, values in part.items()} for part in (stored.of_networks, stored.shared)]
    return Stored(parts[0], parts[1], stored.earlier, stored.every)


def _stream(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)
