"""What the kernels of `persistent` and `streamed` share: nonlinearities, products in single precision, and noise.

Private noise is Philox numbers (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3") turned normal by Box
and Muller's method. They depend on the network's key, the number of the draw, the time, the trial and the unit alone:
not on the other networks, nor on how trials are divided into tiles.
"""

from typing import no_type_check

import triton
import triton.language as tl
from jaxtyping import Float
from torch import Tensor

from insd.networks.engine.keyed import KeyedNoise

ROUNDS = tl.constexpr(7)
"""Of Philox: the fewest that pass all tests of randomness in Salmon et al. (2011), who add three for safety."""
ELEMENTS = 1024
"""Of noise: numbers of a time that a program draws."""
_TANH, _RELU = tl.constexpr(0), tl.constexpr(1)
"""The numbers of `NONLINEARITIES`; softplus is the third."""


@triton.jit
@no_type_check
def rates_of(states, nonlinearity: tl.constexpr):
    """phi of states; NaN stays NaN."""
    if nonlinearity == _TANH:
        rates = 1.0 - 2.0 / (tl.exp(2.0 * states) + 1.0)
    elif nonlinearity == _RELU:
        rates = tl.maximum(states, 0.0, propagate_nan=tl.PropagateNan.ALL)
    else:
        rates = tl.maximum(states, 0.0) + tl.log(1.0 + tl.exp(-tl.abs(states)))
    return rates


@triton.jit
@no_type_check
def slopes_of(rates, nonlinearity: tl.constexpr):
    """phi' from the rates."""
    if nonlinearity == _TANH:
        slopes = 1.0 - rates * rates
    elif nonlinearity == _RELU:
        slopes = tl.where(rates > 0.0, 1.0, 0.0)
    else:
        slopes = 1.0 - tl.exp(-rates)
    return slopes


@triton.jit
@no_type_check
def parts_of(values):
    """A number in TF32, and the rest, also in TF32, of which the sum is the number but for its last digits."""
    bits = values.to(tl.int32, bitcast=True)
    leading = ((bits + 0x1000) & -0x2000).to(tl.float32, bitcast=True)
    return leading, values - leading


@triton.jit
@no_type_check
def product_of(left, leading, rest, plus, zero):
    """``left @ right + plus``, with the parts of the right matrix.

    As three products that do not wait for each other: `zero`, a number that the compiler does not know, keeps it from
    adding them up one after the other, in which the arithmetic would wait for itself most of the time.
    """
    left_leading, left_rest = parts_of(left)
    none = tl.zeros(plus.shape, tl.float32) + zero
    first = tl.dot(left_leading, leading, acc=plus, input_precision="tf32")
    second = tl.dot(left_rest, leading, acc=none, input_precision="tf32")
    third = tl.dot(left_leading, rest, acc=none, input_precision="tf32")
    return first + (second + third)


@triton.jit
@no_type_check
def _four_normals(key, element, draw, quarter):
    """Standard normal numbers of each element, for the four time steps from 4 `quarter` on."""
    zero = element * 0
    one, two, three, four = tl.philox(key, element, zero + quarter, zero + draw, zero, ROUNDS)
    first, second = _two_normals(one, two)
    third, fourth = _two_normals(three, four)
    return first, second, third, fourth


@triton.jit
@no_type_check
def _two_normals(radius, angle):
    """Two standard normal numbers from two of 32 random bits: Box and Muller's point in the plane."""
    distance = tl.sqrt(-2.0 * tl.log(tl.maximum(tl.uint_to_uniform_float(radius), 1e-7)))
    # An angle within an eighth of a turn from one axis, by series that are exact to 4e-7 there, and a random sign and
    # swap for all others: several times as fast as the library's functions of any angle.
    bits = angle.to(tl.int32, bitcast=True)
    turn = (bits >> 8).to(tl.float32) * (3.14159265 / 4 / 2**23)
    square = turn * turn
    sine = turn * (1.0 + square * (-1.0 / 6 + square * (1.0 / 120 - square * (1.0 / 5040))))
    cosine = 1.0 + square * (-0.5 + square * (1.0 / 24 + square * (-1.0 / 720 + square * (1.0 / 40320))))
    swapped = (bits & 1) == 0
    distance = tl.where((bits & 2) == 0, distance, -distance)
    return distance * tl.where(swapped, cosine, sine), distance * tl.where(swapped, sine, cosine)


@triton.jit(do_not_specialize=["times", "elements", "of_network"])
@no_type_check
def _draw(
    keys,  # (network)
    draw,  # ()
    noise,  # (network, time, trial and unit), of any stride of networks; filled
    of_network,
    times,
    elements,
    scale,
    ELEMENTS: tl.constexpr,  # noqa: N803
):
    """Some elements of the noise of four time steps of a network."""
    network = tl.program_id(2).to(tl.int64)
    quarter = tl.program_id(1)
    element = tl.program_id(0) * ELEMENTS + tl.arange(0, ELEMENTS)
    noise += network * of_network + 4 * quarter * elements
    drawn = _four_normals(tl.load(keys + network), element, tl.load(draw).to(tl.int32), quarter)
    for step in tl.static_range(4):
        there = (element < elements) & (element * 0 + 4 * quarter + step < times)
        tl.store(noise + step * elements + element, scale * drawn[step], mask=there)


def draw_noise(
    keyed: KeyedNoise, noise: Float[Tensor, "network time trial unit"]
) -> Float[Tensor, "network time trial unit"]:
    """Fill a tensor, each network's part of which is contiguous, with noise by its keys; returns the tensor."""
    networks, times, trials, units = noise.shape
    elements = trials * units
    _draw[triton.cdiv(elements, ELEMENTS), triton.cdiv(times, 4), networks](
        *(keyed.keys, keyed.draw, noise, noise.stride(0), times, elements, keyed.scale, ELEMENTS), num_warps=4
    )
    return noise
