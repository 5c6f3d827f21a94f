"""Noise that is named instead of drawn: it depends on a key and a count alone, so that nothing has to be kept of it.

Private noise by `KeyedNoise` is drawn by the kernels of `persistent`; other noise by `keyed_normal`.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

WORD = 0xFFFFFFFF
"""The largest 32-bit word. Words are in tensors of 64 bits, whose products wrap around without harm to the lower 32."""


@dataclass(frozen=True)
class KeyedNoise:
    """Normal numbers that depend on the network's key, the number of the draw, the time, the trial and the unit alone.

    keys : one per network, from its own random stream.
    draw : the number of the draw, such as that of an iteration; on the device, as part of what a CUDA graph reads.
    scale : standard deviation of the noise that is added to the state at each step.
    """

    keys: Int[Tensor, "network"]
    draw: Int[Tensor, ""]
    scale: float


def keyed_normal(
    keys: Int[Tensor, "network"], draw: Int[Tensor, ""], count: int, dtype: torch.dtype = torch.float32
) -> Float[Tensor, "network count"]:
    """Standard normal numbers that depend on the network's key, the number of the draw and their place alone.

    The same on every device up to rounding, in tensor operations that a GPU can repeat as part of a CUDA graph: Philox
    4x32-10 on the counter (place, draw), and Box and Muller's transform of its words two by two.
    """
    blocks = -(-count // 4)
    place = torch.arange(blocks, device=keys.device)
    low, high = draw & WORD, (draw >> 32) & WORD
    counter = [one.expand(len(keys), blocks) for one in (place, torch.zeros_like(place), low, high)]
    words = philox(counter, [keys[:, None] & WORD, (keys[:, None] >> 32) & WORD])
    # From 32 bits to the open interval (0, 1).
    uniform = [(word.to(torch.float64) + 0.5) / (WORD + 1) for word in words]
    radii = [(-2 * one.log()).sqrt() for one in uniform[::2]]
    angles = [2 * math.pi * one for one in uniform[1::2]]
    pairs = zip(radii, angles, strict=True)
    drawn = [part for radius, angle in pairs for part in (radius * angle.cos(), radius * angle.sin())]
    return torch.stack(drawn, -1).flatten(1)[:, :count].to(dtype)


def philox(counter: list[Int[Tensor, "..."]], key: list[Int[Tensor, "..."]]) -> list[Int[Tensor, "..."]]:
    """Four random words for each counter of four words and key of two: Philox 4x32-10.

    Source: Salmon et al. (2011), "Parallel random numbers: as easy as 1, 2, 3".
    """
    first, second, third, fourth = counter
    for turn in range(10):
        left, right = ((part + turn * step) & WORD for part, step in zip(key, (0x9E3779B9, 0xBB67AE85), strict=True))
        high_1, low_1 = _product(first, 0xD2511F53)
        high_2, low_2 = _product(third, 0xCD9E8D57)
        first, second, third, fourth = high_2 ^ second ^ left, low_2, high_1 ^ fourth ^ right, low_1
    return [first, second, third, fourth]


def _product(word: Int[Tensor, "..."], factor: int) -> tuple[Int[Tensor, "..."], Int[Tensor, "..."]]:
    """The upper and the lower word of a product of two words."""
    product = word * factor
    return (product >> 32) & WORD, product & WORD
