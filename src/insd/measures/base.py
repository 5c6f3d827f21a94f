"""Measures of two networks: what each declares, the statistics that linear measures share, and the promised maps.

A measure prepares each network once and then compares pairs. A file of this folder is a measure of the library; a class
of any other module is named `module:Class` in the config.

Linear measures need only small statistics of each network and one product per pair. With centred activity X (sample,
unit) of rank r, let U (sample, r) be an orthonormal basis of its columns along its principal axes and v (r) the sum of
squares along each, and U_y, v_y those of Y. Linear measures are functions of

    C = U^T U_y,   v,   v_y,

since X^T Y = diag(v)^1/2 C diag(v_y)^1/2 up to rotations, which none of them sees. The null space of a readout lies
within the same basis, so one product of all networks' bases with each other serves both spaces.

In formulas ``|.|`` is the Frobenius norm. Samples are trials x every `TIME_STRIDE`-th time step until the end of each
trial.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float, Int

from insd import plugins
from insd.errors import InsdError
from insd.samples import chosen, lasting, placed

RANK = 1e-6
"""Relative variance (to the largest principal component) below which a direction of activity counts as absent."""
TIME_STRIDE = 2
"""Activity is smooth over a time constant of several steps: every second step halves the work."""


class MeasureError(InsdError):
    """A measure cannot be used or breaks a promise; the message names the measure and the fault."""


class Map(Enum):
    """A kind of map of one network's rates under which a measure may promise not to change."""

    ROTATION = "rotations"
    """Orthogonal maps of the units; their permutations are among them."""
    SCALING = "scaling"
    """One positive factor for all rates."""
    TRANSLATION = "translations"
    """An offset for each unit."""
    INVERTIBLE_LINEAR = "invertible linear maps"
    """Invertible linear maps of the units; rotation and scaling are among them."""

    def apply(
        self, rates: Float[np.ndarray, "trial time unit"], random: np.random.Generator
    ) -> Float[np.ndarray, "trial time unit"]:
        """Rates under a random map of this kind."""
        units = rates.shape[-1]
        if self is Map.SCALING:
            return rates * np.exp(random.choice([-1, 1]) * random.uniform(0.5, 3))
        if self is Map.TRANSLATION:
            return rates + 3 * rates.std() * random.standard_normal(units)
        rotation = np.linalg.qr(random.standard_normal((units, units)))[0]
        if self is Map.ROTATION:
            return rates @ rotation
        # Principal axes get other shares of the variance: mixing them at random would leave many measures as they are.
        variances, axes = np.linalg.eigh(np.cov(rates.reshape(-1, units), rowvar=False))
        deviations = np.sqrt(variances.clip(1e-6 * variances[-1]))
        return rates @ (axes / deviations * random.permutation(np.geomspace(0.03, 1, units))) @ rotation


def closure(maps: Sequence[Map]) -> set[Map]:
    """The given kinds of maps, and those that are among them."""
    among = {Map.ROTATION, Map.SCALING} if Map.INVERTIBLE_LINEAR in maps else set()
    return set(maps) | among


def orthonormal_basis(
    activity: Float[np.ndarray, "sample unit"],
) -> tuple[Float[np.ndarray, "sample rank"], Float[np.ndarray, "rank"]]:
    """Orthonormal basis of the centred activity's column space, and the sum of squares along each of its directions.

    Without directions of a relative variance below `RANK`; activity that does not vary has rank 0. In float64.
    """
    centred = activity.astype(np.float64)
    centred = centred - centred.mean(0)
    variances, directions = np.linalg.eigh(centred.T @ centred)
    kept = variances > max(RANK * variances[-1], rounding(activity), np.finfo(np.float64).tiny)
    return centred @ (directions[:, kept] / np.sqrt(variances[kept])), variances[kept]


def rounding(activity: Float[np.ndarray, "sample unit"]) -> float:
    """Sum of squares about its mean that activity may have by rounding of the mean alone, without varying."""
    return activity.size * float(1e-12 * np.abs(activity).max(initial=0.0)) ** 2


def _principal(covariance: Float[np.ndarray, "row row"], least: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Variances above `least` and above `RANK` of the largest, and their axes (row, axis), the largest first."""
    variances, axes = np.linalg.eigh(covariance) if covariance.size else (np.zeros(0), np.zeros((0, 0)))
    kept = variances > max(RANK * variances.max(initial=0.0), least, np.finfo(np.float64).tiny)
    return variances[kept][::-1], axes[:, kept][:, ::-1]


@dataclass(frozen=True)
class Statistics:
    """What linear measures ask of one network's activity in one space."""

    directions: Float[np.ndarray, "trial time direction"]
    """Orthonormal basis of the network's activity over samples, in single precision; the same in all its spaces. Zero
    after the end of a trial."""
    basis: Float[np.ndarray, "direction rank"]
    """Principal axes in terms of the `directions`: orthonormal columns, the largest variance first."""
    variances: Float[np.ndarray, "rank"]
    """Sum of squares along each axis."""
    residual_basis: Float[np.ndarray, "direction residual_rank"]
    """Takes the `directions`, less their `time_course`, to orthonormal columns: principal axes of the activity without
    its mean over trials at each time, the largest variance first."""
    residual_variances: Float[np.ndarray, "residual_rank"]
    """Sum of squares along each of those axes."""
    squared_norms: Float[np.ndarray, "sample"]
    """Squared norm of each sample's centred activity."""
    steps: Int[np.ndarray, "trial"]
    """How many of the times each trial lasts."""

    @property
    def time_course(self) -> Float[np.ndarray, "time direction"]:
        """Mean of the directions over trials, times the root of their number: what all trials share."""
        return _time_course(self.directions, self.steps)


def _time_course(
    directions: Float[np.ndarray, "trial time direction"], steps: Int[np.ndarray, "trial"]
) -> Float[np.ndarray, "time direction"]:
    """`Statistics.time_course`; the product of two is the sum of squares that trials share."""
    trials = (np.arange(directions.shape[1]) < steps[:, None]).sum(0)
    return directions.sum(0, dtype=np.float64) / np.sqrt(np.maximum(trials, 1))[:, None]


class _Directions:
    """Orthonormal basis of one network's activity over samples, which all its spaces share."""

    def __init__(self, rates: Float[np.ndarray, "trial time unit"]) -> None:
        sampled = rates[:, ::TIME_STRIDE]
        lasts = lasting(sampled)
        flat = chosen(sampled, lasts).astype(np.float64)
        self.directions = orthonormal_basis(flat)[0]
        # The activity within the basis, (direction, unit): the basis is centred, so that the mean drops out.
        self.within = self.directions.T @ flat
        self.steps = lasts.sum(1)
        whole = placed(self.directions, lasts)
        time_course = _time_course(whole, self.steps)
        self.residual_gram = np.eye(whole.shape[-1]) - time_course.T @ time_course
        self.stored = whole.astype(np.float32)


class Activity:
    """One network's activity in one space, as measures are given it; each part is computed when first used.

    Parameters
    ----------
    rates : at all time steps, whatever their scale and offset; NaN after the end of a trial (`insd.samples`).
    projector : takes the rates to the space; without it, they are compared as they are.
    shared : what `projected` passes on.
    """

    def __init__(
        self,
        rates: Float[np.ndarray, "trial time unit"],
        projector: Float[np.ndarray, "unit unit"] | None = None,
        shared: _Directions | None = None,
    ) -> None:
        self._given, self._projector, self._shared = rates, projector, shared or _Directions(rates)

    def projected(self, projector: Float[np.ndarray, "unit unit"]) -> "Activity":
        """The activity of the same network with its rates projected, as on the null space of its readout."""
        return Activity(self._given, projector, self._shared)

    @cached_property
    def rates(self) -> Float[np.ndarray, "trial time unit"]:
        """The rates in this space at all time steps."""
        return self._given if self._projector is None else self._given @ self._projector

    @cached_property
    def _axes(self) -> tuple[np.ndarray, np.ndarray]:
        within = self._shared.within if self._projector is None else self._shared.within @ self._projector
        return _principal(within @ within.T)

    @cached_property
    def samples(self) -> Float[np.ndarray, "sample rank"]:
        """Centred activity at the samples along its principal axes, the largest variance first; in float64."""
        variances, basis = self._axes
        return self._shared.directions @ (basis * np.sqrt(variances))

    @cached_property
    def statistics(self) -> Statistics:
        """What linear measures ask of it."""
        variances, basis = self._axes
        scaled = basis * np.sqrt(variances)
        # Trials that are all the same leave nothing but rounding.
        residual_variances, axes = _principal(
            scaled.T @ self._shared.residual_gram @ scaled, RANK * variances.max(initial=0.0)
        )
        residual_basis = scaled @ axes / np.sqrt(residual_variances)
        squared_norms = np.square(self.samples).sum(1)
        return Statistics(
            self._shared.stored,
            basis,
            variances,
            residual_basis,
            residual_variances,
            squared_norms,
            self._shared.steps,
        )


class Measure(ABC):
    """A number for a pair of networks, by the activity of both on the same trials.

    A subclass says all of the following; `check_measure` holds it to that.
    """

    name: ClassVar[str]
    """Its name in files and, for a measure of this library, in the config: the name of its file there."""
    long_name: ClassVar[str]
    """Its name in figures."""
    symmetric: ClassVar[bool] = True
    """Whether both directions of a pair have the same value. If not, `compare(a, b)` is the one from a to b."""
    zero_is_equal: ClassVar[bool] = False
    """Whether it is a distance, 0 between equal networks, instead of a similarity, which is 1."""
    bounds: ClassVar[tuple[float, float]]
    """Lowest and highest value, up to rounding; they may be infinite."""
    invariant_to: ClassVar[tuple[Map, ...]]
    """Maps of either network that do not change it."""
    first_invariant_to: ClassVar[tuple[Map, ...]] = ()
    """Further maps of the first network alone that do not change it, of a measure that is not symmetric."""
    temporal: ClassVar[bool] = False
    """Whether it compares how activity evolves within trials, whatever their order, and not the patterns at the same
    time of the same trial."""
    source: ClassVar[str]
    """Where it is defined."""

    @property
    def kind(self) -> str:
        """ "distance" or "similarity"."""
        return "distance" if self.zero_is_equal else "similarity"

    @abstractmethod
    def prepare(self, activity: Activity) -> Any:
        """What comparisons ask of one network: computed once for each network and space."""

    @abstractmethod
    def compare(self, a: Any, b: Any) -> float:
        """The value for two prepared networks, on the same trials; NaN where a network's activity does not vary."""


class LinearMeasure(Measure):
    """A measure that is a function of C, v and v_y; see the head of this module."""

    def prepare(self, activity: Activity) -> Statistics:
        """The shared statistics."""
        return activity.statistics

    def compare(self, a: Statistics, b: Statistics, overlap: Float[np.ndarray, "rank rank_to"] | None = None) -> float:
        """The value for two prepared networks; `overlap` is C, where it is known already."""
        if not (a.variances.size and b.variances.size):
            return float("nan")
        return float(self.value(a, b, overlap_of(a, b) if overlap is None else overlap))

    @abstractmethod
    def value(self, a: Statistics, b: Statistics, overlap: Float[np.ndarray, "rank rank_to"]) -> float:
        """The value for two networks that vary."""


def overlap_of(a: Statistics, b: Statistics) -> Float[np.ndarray, "rank rank_to"]:
    """C of two networks on the same samples: their bases' product, taken in single precision."""
    flat = [one.directions.reshape(-1, one.directions.shape[-1]) for one in (a, b)]
    return a.basis.T @ (flat[0].T @ flat[1]).astype(np.float64) @ b.basis


def both_ways(measure: Measure, a: Any, b: Any, overlap: Float[np.ndarray, "rank rank_to"]) -> tuple[float, float]:
    """The value from a to b and the one from b to a, by the product of their bases where the measure takes it."""

    def value(a: Any, b: Any, overlap: Float[np.ndarray, "rank rank_to"]) -> float:
        return measure.compare(a, b, overlap) if isinstance(measure, LinearMeasure) else measure.compare(a, b)

    forward = value(a, b, overlap)
    return forward, forward if measure.symmetric else value(b, a, overlap.T)


def find_measures(names: Sequence[str]) -> list[Measure]:
    """The measures that the config names, in its order.

    Raises PluginError if there is no such measure, and MeasureError if two have the same name in files.
    """
    found = [plugins.find("measure", name)() for name in names]
    by_name: dict[str, str] = {}
    for name, measure in zip(names, found, strict=True):
        if measure.name in by_name:
            raise MeasureError(
                f"{name}: is called {measure.name!r} in files, as {by_name[measure.name]} is; give it a different name"
            )
        by_name[measure.name] = name
    return found


TOLERANCE = 2e-3
"""Values closer than this count as equal: bases are in single precision, and searches end near their minimum."""
CHANGED = 1e-2
"""Values farther apart than this have changed."""


def check_measure(measure: Measure, seed: int = 0) -> None:
    """Check a measure against what it declares, on random activity of a few networks.

    Checked are its names, its values for equal networks, its bounds, its symmetry, every promised invariance and that
    no map beyond those leaves it unchanged, that the order of trials does not change a temporal one, activity of low
    rank, activity that does not vary, and rates of very small and very large scale. Raises MeasureError that says which
    of these fails.
    """
    _check_description(measure)
    random = np.random.default_rng(seed)
    first, second, low_rank, constant = _examples(random)
    forward, backward = _value(measure, first, second), _value(measure, second, first)
    _must(
        measure.symmetric == (abs(forward - backward) < TOLERANCE),
        measure,
        f"declares symmetric = {measure.symmetric}, but is {forward:.6g} one way and {backward:.6g} the other",
    )
    equal = 0.0 if measure.zero_is_equal else 1.0
    for name, rates in (("a network", first), ("a network of low rank", low_rank)):
        found = _value(measure, rates, rates.copy())
        _must(abs(found - equal) < TOLERANCE, measure, f"is {found:.6g} between {name} and itself, and not {equal:g}")
    _must(
        abs(forward - equal) > CHANGED, measure, f"is {forward:.6g} between different networks, as between equal ones"
    )
    lowest, highest = measure.bounds
    for a, b in ((first, second), (second, first), (first, low_rank), (low_rank, first)):
        found = _value(measure, a, b)
        _must(
            lowest - TOLERANCE <= found <= highest + TOLERANCE,
            measure,
            f"is {found:.6g}, outside its bounds from {lowest:g} to {highest:g}",
        )
    for change in Map:
        for of_first in (True, False):
            check_invariance(measure, change, of_first, seed)
    for factor in (1e-10, 1e10):
        scaled = _value(measure, factor * first, factor * second)
        _must(
            abs(scaled - forward) < TOLERANCE if Map.SCALING in closure(measure.invariant_to) else np.isfinite(scaled),
            measure,
            f"is {scaled:.6g} for rates times {factor:g}, and {forward:.6g} without",
        )
    moved = _value(measure, first, second[::-1])
    _must(
        not measure.temporal or abs(moved - forward) < TOLERANCE,
        measure,
        f"declares temporal = True, but goes from {forward:.6g} to {moved:.6g} where one network's trials "
        "change places",
    )
    worst = highest if measure.zero_is_equal else lowest
    for a, b in ((first, constant), (constant, first), (constant, constant)):
        found = _value(measure, a, b)
        explains_nothing = not measure.symmetric and a is constant and b is not constant and found == worst
        _must(
            np.isnan(found) or explains_nothing,
            measure,
            f"is {found:.6g} where a network's activity does not vary, and not NaN",
        )


def check_invariance(measure: Measure, change: Map, of_first: bool, seed: int) -> None:
    """Hold a measure to its promise on one kind of map, of the first or the second network, as `check_measure` does.

    Raises MeasureError if a promised map changes the value, or if another one does not.
    """
    random = np.random.default_rng(seed)
    first, second, low_rank, _ = _examples(random)
    promised = change in closure((*measure.invariant_to, *(measure.first_invariant_to if of_first else ())))
    maps = f"{change.value} of the {'first' if of_first else 'second'} network"
    changes = []
    # One random map may by chance change little.
    for pair in [(first, second), (low_rank, second) if of_first else (first, low_rank)] * (1 if promised else 3):
        mapped = (change.apply(pair[0], random), pair[1]) if of_first else (pair[0], change.apply(pair[1], random))
        before, after = _value(measure, *pair), _value(measure, *mapped)
        changes.append(abs(after - before))
        broken = f"promises not to change under {maps}, and goes from {before:.6g} to {after:.6g}"
        _must(not promised or changes[-1] < TOLERANCE, measure, broken)
    _must(promised or max(changes) > CHANGED, measure, f"does not change under {maps}, which it does not promise")


def _check_description(measure: Measure) -> None:
    for name in ("name", "long_name", "bounds", "invariant_to", "source"):
        _must(getattr(measure, name, "") != "", measure, f"does not say its {name}")
    _must(measure.name.isidentifier(), measure, "has a name that is not of letters, digits and _")
    equal = 0.0 if measure.zero_is_equal else 1.0
    lowest, highest = measure.bounds
    _must(equal in (lowest, highest), measure, f"has bounds that do not end at {equal:g}, the value of equal networks")


def _examples(random: np.random.Generator) -> list[Float[np.ndarray, "trial time unit"]]:
    """Slow activity of two networks that share a part, of the first one's units with few directions, and constant."""
    trials, times = 12, 24
    drive = random.standard_normal((times, trials, 5 + 26 + 24))
    for time in range(1, times):
        drive[time] += 0.8 * drive[time - 1]
    shared, own, other = np.split(drive.swapaxes(0, 1), [5, 5 + 26], axis=-1)
    mix, mix_other = (random.standard_normal((5, units)) for units in (26, 24))
    first = shared @ mix + 0.5 * own + 1.0
    return [first, shared @ mix_other + other, shared[..., :3] @ mix[:3], np.full_like(first, 0.1)]


def _value(
    measure: Measure, a: Float[np.ndarray, "trial time unit"], b: Float[np.ndarray, "trial time unit_to"]
) -> float:
    return float(measure.compare(measure.prepare(Activity(a)), measure.prepare(Activity(b))))


def _must(kept: bool | np.bool_, measure: Measure, broken: str) -> None:
    if not kept:
        raise MeasureError(f"{type(measure).__name__}: {broken}")
