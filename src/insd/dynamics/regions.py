"""All fixed points of piecewise-linear low-rank networks, by enumeration of the regions in which they are linear.

In ``z <- a z + N' phi(M z + c)``, phi a relu or clipped relu, each kink of phi of a unit is on a hyperplane of z. The
hyperplanes cut the space of z into regions; in each, the map is affine and has at most one isolated fixed point, from a
linear system of `rank` equations. With a rank R far below the number of units n, there are few regions: ``sum_{r <= R}
C(n, r)`` of the 2^n patterns of active units of a relu network occur at all.

Every region has a corner, where R hyperplanes meet. So all ``C(n, R)`` corners are solved for, and the ``2^R`` patterns
around each are all that occur.

Source: Pals et al. (2024), "Inferring stochastic low-rank recurrent neural networks from neural data".
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations, islice, product
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Complex, Float, Int, UInt8
from torch import Tensor

BATCH = 16384
"""Corners, or regions, at once."""
PARALLEL = 1e-12
"""Hyperplanes whose unit normals have a determinant below this do not meet."""
SHIFT = 1e-9
"""Share of the largest threshold by which hyperplanes are shifted at random for the enumeration, so that no more than R
meet in one corner, as all of them do in z = 0 without thresholds. Regions keep their patterns; those that the shift
opens have no fixed point of their own pattern."""


@dataclass(frozen=True)
class AllFixedPoints:
    """The isolated fixed points of a piecewise-linear low-rank network."""

    latents: Float[np.ndarray, "point rank"]
    """z, in the order of the patterns."""
    multipliers: Complex[np.ndarray, "point rank"]
    """Eigenvalues of the map at the point, by decreasing modulus; those along all other directions are a."""
    regions: int
    """Regions that were searched."""

    @property
    def stable(self) -> Bool[np.ndarray, "point"]:
        """Whether nearby states come back: all moduli are below 1."""
        return abs(self.multipliers).max(1) < 1


def all_fixed_points(
    left: Float[np.ndarray, "unit rank"],
    right: Float[np.ndarray, "unit rank"],
    thresholds: Float[np.ndarray, "unit"],
    decay: float,
    currents: Float[np.ndarray, "unit"] | None = None,
    nonlinearity: Literal["relu", "clipped_relu"] = "relu",
) -> AllFixedPoints:
    """All isolated fixed points of ``z <- a z + N' phi(M z + c)`` with M `left`, N `right`, a `decay`, c `currents`.

    phi is ``relu(x - h)``, or ``relu(x + h) - relu(x)`` for `clipped_relu`, with thresholds h. Without currents, c = 0;
    under a constant input u it is ``W u``. Lines and planes of fixed points, on which the map minus the identity is
    singular, are left out. Raises ValueError if the rank of M is below its columns: there are then directions along
    which regions have no corner.
    """
    offsets = np.zeros(len(left)) if currents is None else currents
    if nonlinearity == "relu":
        normals, kinks, vectors = left, thresholds - offsets, right
    else:
        # Two ramps a unit, one up and one down.
        normals, vectors = np.concatenate([left, left]), np.concatenate([right, -right])
        kinks = np.concatenate([-thresholds - offsets, -offsets])
    found = regions(normals, kinks)
    rank = left.shape[1]
    planes, sides = torch.as_tensor(normals).double(), torch.as_tensor(kinks).double()
    ramps = torch.as_tensor(vectors).double()
    # N' D M as products of the patterns with the outer products of each ramp.
    outer = (ramps[:, :, None] * planes[:, None]).flatten(1)
    latents, maps = [], []
    for packed in torch.from_numpy(found).split(BATCH):
        active = _unpacked(packed.numpy(), len(kinks))
        linear = decay * torch.eye(rank).double() + (active.double() @ outer).unflatten(1, (rank, rank))
        constant = -active.double() @ (sides[:, None] * ramps)
        points = torch.linalg.solve_ex(torch.eye(rank).double() - linear, constant)[0]
        own = points.isfinite().all(1) & ((points @ planes.T > sides) == active).all(1)
        latents.append(points[own])
        maps.append(linear[own])
    multipliers = np.linalg.eigvals(torch.cat(maps).numpy()).astype(complex).reshape(-1, rank)
    order = np.argsort(-abs(multipliers), axis=1, kind="stable")
    return AllFixedPoints(torch.cat(latents).numpy(), np.take_along_axis(multipliers, order, 1), len(found))


def regions(
    normals: Float[np.ndarray, "plane rank"], kinks: Float[np.ndarray, "plane"]
) -> UInt8[np.ndarray, "region byte"]:
    """The regions into which hyperplanes ``normals z = kinks`` cut the space, each once, in a fixed order.

    Of each: on which side of every hyperplane it lies, ``normals z > kinks``, packed by `numpy.packbits`. Raises
    ValueError if the normals do not span the space.
    """
    rank = normals.shape[1]
    if np.linalg.matrix_rank(normals) < rank:
        raise ValueError(f"the vectors span fewer than their {rank} dimensions: give them in a basis of their span")
    largest = np.abs(kinks).max() or 1.0
    shifted = kinks + SHIFT * largest * np.random.default_rng(0).uniform(-1, 1, len(kinks))
    planes, sides = torch.as_tensor(normals).double(), torch.as_tensor(shifted).double()
    patterns = torch.tensor(list(product([False, True], repeat=rank)))
    found = []
    for meeting, points in corners(planes, sides):
        side = points @ planes.T > sides
        around = side[:, None].repeat(1, len(patterns), 1)
        around.scatter_(2, meeting[:, None].expand(-1, len(patterns), -1), patterns.expand(len(points), -1, -1))
        found.append(_distinct(np.packbits(around.flatten(0, 1).numpy(), axis=1)))
    return _distinct(np.concatenate(found))


def corners(
    planes: Float[Tensor, "plane rank"], sides: Float[Tensor, "plane"]
) -> Iterator[tuple[Int[Tensor, "corner rank"], Float[Tensor, "corner rank"]]]:
    """Where R hyperplanes meet, in batches: which of them, and the point."""
    rank = planes.shape[1]
    units = planes / planes.norm(dim=1, keepdim=True).clamp(min=torch.finfo(torch.float64).tiny)
    subsets = combinations(range(len(planes)), rank)
    while batch := list(islice(subsets, BATCH)):
        meeting = torch.tensor(batch)
        meeting = meeting[torch.linalg.det(units[meeting]).abs() > PARALLEL]
        if len(meeting):
            yield meeting, torch.linalg.solve(planes[meeting], sides[meeting])


def _distinct(packed: UInt8[np.ndarray, "pattern byte"]) -> UInt8[np.ndarray, "distinct byte"]:
    """Each row once, sorted; as single values of their bytes, which compare many times faster than rows."""
    whole = np.ascontiguousarray(packed).view(f"V{packed.shape[1]}")[:, 0]
    return np.unique(whole).view(np.uint8).reshape(-1, packed.shape[1])


def _unpacked(packed: UInt8[np.ndarray, "pattern byte"], planes: int) -> Bool[Tensor, "pattern plane"]:
    return torch.from_numpy(np.unpackbits(packed, axis=1, count=planes).astype(bool))
