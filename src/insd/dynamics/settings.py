"""How points and cycles are sought, and operators fitted and compared."""

from typing import Annotated

from pydantic import Field

from insd.settings.base import Count, NotNegative, Positive, Section


class FixedPoints(Section):
    """The search for fixed points, slow points and cycles; the defaults were chosen on trained networks."""

    starts: Annotated[int, Field(ge=2)] = 512
    """States along trajectories to start from; the second half has noise added."""
    noise: NotNegative = 1.0
    """Standard deviation of that noise, as a share of the standard deviation of each unit's state."""
    slow_speed: Positive = 1e-3
    """Largest speed q = |F|² / 2 of a slow point, with F = tau dx/dt: |F| = 0.045, or 0.45/s at tau = 0.1 s."""
    merge_radius: Positive = 0.1
    """Points within this Euclidean distance count as one: that of the lowest speed."""
    block: Positive = 20.0
    """Length of autonomous runs in s; runs that are neither settled nor on a cycle are continued."""
    blocks: Count = 5
    """Largest number of such blocks in a run, including the first."""


class DynamicalSimilarity(Section):
    """Dynamical similarity analysis; the defaults were chosen by held-out prediction error (docs/science.md)."""

    delays: Count = 2
    """Time steps joined into one embedded state."""
    rank: Annotated[int, Field(ge=2)] = 40
    """Number of leading directions of the embedded activity on which the operators act."""
    starts: Count = 16
    """Starts of the search for the best orthogonal transform of each pair."""
    iterations: Count = 200
    """Most iterations from each start."""
