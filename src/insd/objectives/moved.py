"""One iteration of the constrained schedule (`insd.objectives.schedules.Constrained`) as one kernel for a GPU.

By PyTorch's operations it is some twenty kernels on a few numbers each, and a GPU takes microseconds to start one.
"""

from typing import no_type_check

import triton
import triton.language as tl
from jaxtyping import Float
from torch import Tensor

NETWORKS = 128
"""Of a program."""


@triton.jit(do_not_specialize=["networks"])
@no_type_check
def _move(
    logarithms,  # (network, earlier); changed in place, as is the next
    loss,  # (network); the smoothed one
    task_loss,  # (network)
    value,  # (network, earlier)
    share,  # ()
    finishing,  # (); read with `has_finishing`
    multipliers,  # (network, earlier); filled
    networks,
    smoothing,
    loss_bound,
    bound,
    rate,
    least,
    most,
    earlier: tl.constexpr,
    has_finishing: tl.constexpr,
    NETWORKS: tl.constexpr,  # noqa: N803
):
    network = tl.program_id(0) * NETWORKS + tl.arange(0, NETWORKS)
    there = network < networks
    before = tl.load(loss + network, mask=there, other=0.0)
    after = before + (1.0 - smoothing) * (tl.load(task_loss + network, mask=there, other=0.0) - before)
    counts = tl.load(share).to(tl.float32)
    affordable = counts * tl.minimum(tl.maximum(2.0 - before / loss_bound, 0.0), 1.0)
    lowest = -1.0
    if has_finishing:
        lowest = tl.where(tl.load(finishing).to(tl.float32) > 0.0, 0.0, -1.0)
    for one in range(earlier):
        place = network * earlier + one
        old = tl.load(logarithms + place, mask=there, other=0.0)
        tl.store(multipliers + place, tl.exp(old) * affordable, mask=there)
        over = (tl.load(value + place, mask=there, other=0.0).to(tl.float32) - bound) / bound
        direction = tl.where(after > loss_bound, -1.0, tl.minimum(tl.maximum(over, lowest), 1.0))
        new = tl.minimum(tl.maximum(old + rate * direction, least), most)
        tl.store(logarithms + place, tl.where(counts > 0.0, new, old), mask=there)
    tl.store(loss + network, after, mask=there)


def move(
    logarithms: Float[Tensor, "network earlier"],
    loss: Float[Tensor, "network"],
    task_loss: Float[Tensor, "network"],
    value: Float[Tensor, "network earlier"],
    share: Float[Tensor, ""],
    finishing: Float[Tensor, ""] | None,
    smoothing: float,
    loss_bound: float,
    bound: float,
    rate: float,
    limits: tuple[float, float],
) -> Float[Tensor, "network earlier"]:
    """The multipliers of an iteration; moves their logarithms and the smoothed loss in place."""
    networks, earlier = logarithms.shape
    multipliers = logarithms.new_empty(networks, earlier)
    _move[(triton.cdiv(networks, NETWORKS),)](
        *(logarithms, loss, task_loss.contiguous(), value.contiguous(), share),
        *(share if finishing is None else finishing, multipliers, networks),
        *(smoothing, loss_bound, bound, rate, *limits, earlier, finishing is not None, NETWORKS),
        num_warps=4,
    )
    return multipliers
