"""Private noise that is named instead of drawn: the kernels of `persistent` draw it themselves."""

from dataclasses import dataclass

from jaxtyping import Int
from torch import Tensor


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
