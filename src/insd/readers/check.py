"""A check that a reader keeps what comparisons of readers rely on."""

from typing import Any

import torch

from insd.errors import refusing
from insd.plugins import find
from insd.readers.base import Reader, ReaderError, Sizes, Weights, make_reader
from insd.readers.settings.base import ReaderSettings

LARGEST = 1e-5
"""Change of an answer, relative to the largest answer or 1, that is called none."""
_COUNT, _SIZES, _ANSWERS = 6, Sizes(units=7, inputs=2, outputs=3), 2
_must = refusing(ReaderError)


def check_reader(name: str, **settings: Any) -> None:
    """Check a reader on a few small networks, with these keys of its settings.

    Checked are its settings, the shape of its answers, that they depend on the network alone, on the order of units as
    it declares (`invariant`), and on that of outputs (`sees_outputs`), and that every parameter moves them. Raises
    ReaderError at the first that fails.
    """
    found: type[Reader] = find("reader", name)
    _must(issubclass(found.Settings, ReaderSettings), name, "its Settings are not a subclass of ReaderSettings")
    networks = random_networks(_COUNT, _SIZES, seed=1)
    reader = make_reader(name, found.Settings(**settings), _SIZES, _ANSWERS, seed=2)
    reader.prepare(networks)
    answers = reader(networks)
    _must(answers.shape == (_COUNT, _ANSWERS), name, f"its answers have the shape {tuple(answers.shape)}")
    _must(bool(torch.isfinite(answers).all()), name, "its answers are not finite")

    _must(any(True for _ in reader.parameters()), name, "has no parameters that could be trained")
    gradients = torch.autograd.grad(answers.square().sum(), list(reader.parameters()), allow_unused=True)
    idle = [
        parameter
        for (parameter, _), gradient in zip(reader.named_parameters(), gradients, strict=True)
        if gradient is None or not bool(gradient.any())
    ]
    _must(not idle, name, f"these parameters do not change its answers: {', '.join(idle)}")

    scale = max(1.0, float(answers.detach().abs().max()))
    with torch.no_grad():

        def change(others: Weights, chosen: slice = slice(None)) -> float:
            return float((reader(others) - answers[chosen]).abs().max()) / scale

        alone = change(networks.select(torch.tensor([3])), slice(3, 4))
        _must(alone <= LARGEST, name, f"its answer for a network alone differs by {alone:.2g} from that among others")
        units = change(networks.with_units(torch.randperm(_SIZES.units, generator=_stream(3))))
        same = "stay the same" if found.invariant else "change"
        _must(
            (units <= LARGEST) == found.invariant,
            name,
            f"its answers change by {units:.2g} with the order of units; by its declaration they {same}",
        )
        outputs = change(networks.with_outputs(torch.tensor([1, 2, 0])))
        same = "change" if found.sees_outputs else "stay the same"
        _must(
            (outputs > LARGEST) == found.sees_outputs,
            name,
            f"its answers change by {outputs:.2g} with the order of outputs; by its declaration they {same}",
        )


def random_networks(count: int, sizes: Sizes, seed: int) -> Weights:
    """Networks of normal weights of a size that keeps units from saturating."""
    stream, units = _stream(seed), sizes.units

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(count, *shape, generator=stream)

    return Weights(
        normal(units, units) / units**0.5,
        normal(units, sizes.inputs),
        normal(sizes.outputs, units) / units**0.5,
        0.3 * normal(units),
        0.3 * normal(units),
        0.3 * normal(sizes.outputs),
        torch.full((count,), 0.2),
    )


def _stream(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)
