"""What a network holds once evidence has ended: a continuum of slow states along a line, or a few points?

Points that a search finds (`insd.dynamics.search`) do not tell: two decisions are two stable points, and any two points
lie on a line. Here the states at the end of the evidence run on under the constant input, as in a long delay. On a line
attractor they stay along one curve, in the order and with the spread of the evidence, and are slow in one direction.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
import xarray as xr
from jaxtyping import Bool, Float, Int
from torch import Tensor

from insd.dynamics.flow import Flow, flow_of
from insd.members import Member
from insd.tasks import Task

HOLD = 1.0
"""How long states run on, in s: ten time constants of the default network, and longer than its longest delay."""
LINEARISED = 64
"""States at which the dynamics are linearised."""
LEAST_TRIALS = 8
"""Fewer trials say nothing of a curve."""
DEGREE = 3
"""Degree of the polynomials that a curve is made of."""

SCALARS = (
    "held_straightness",
    "held_curve",
    "held_extent",
    "held_leading_real",
    "held_leading_imag",
    "held_second_real",
)
"""What is measured for each constant input."""
BY_EVIDENCE = ("held_correlation", "held_graded")
"""What is measured for each input with evidence, too."""


def held_evidence(
    network: xr.Dataset,
    static: Float[np.ndarray, "input"],
    trials: xr.Dataset,
    columns: list[int],
    seconds: float = HOLD,
) -> dict[str, Any]:
    """What one seed of a `network.nc` holds of the evidence for some seconds after its end, under a constant input.

    `trials` have the end of the evidence as the condition `delay_time` (s), NaN where a trial has none; `columns` are
    the inputs with evidence. Counted are the trials with such an end whose other inputs at that time are those of the
    constant input `static`.

    Returns
    -------
    NaN where fewer than `LEAST_TRIALS` trials have that input.

    - `held_straightness`: share of the held states' variance along their first principal axis.
    - `held_curve`: share of it on the curve whose coordinates are cubic functions of the position along that axis; a
      line that saturation bends has 1 here and less above.
    - `held_extent`: standard deviation of the held states, over all directions, relative to that at the evidence's end.
    - `held_correlation` (evidence): ``|r|`` of the position along the axis with the sum of each evidence.
    - `held_graded` (evidence): the same within trials of one sign of the sum, averaged over both signs: what is held
      beyond a decision.
    - `held_leading_real`, `held_leading_imag`: the leading eigenvalue (1/s) of the flow, median over some of the held
      states; `held_second_real`: the real part of the next one that is not its conjugate.
    """
    chosen, ends = _trials_under(static, trials, columns)
    if chosen.sum() < LEAST_TRIALS:
        return _nothing(len(columns))
    flow = flow_of(network, static, float(trials.attrs["dt"]))
    before = states_at(network, trials["inputs"].values[chosen], ends[chosen], float(trials.attrs["dt"]))
    held, _ = flow.run(before, round(seconds / flow.dt))
    at_end, states = (one.numpy() - one.numpy().mean(0) for one in (before, held))
    _, spread, axes = np.linalg.svd(states, full_matrices=False)
    total = np.square(spread).sum()
    if not total > 0:
        return _nothing(len(columns))
    position = states @ axes[0]
    evidence = trials["inputs"].values[chosen][..., columns].astype(float).sum(1)
    powers = np.stack([(position / position.std()) ** power for power in range(DEGREE + 1)], axis=1)
    off = states - powers @ np.linalg.lstsq(powers, states, rcond=None)[0]
    leading, second = _leading(flow, held[:LINEARISED])
    return {
        "held_straightness": spread[0] ** 2 / total,
        "held_curve": 1 - np.square(off).sum() / total,
        "held_extent": np.sqrt(total / np.square(at_end).sum()),
        "held_correlation": np.array([_correlation(position, one) for one in evidence.T]),
        "held_graded": np.array(
            [
                np.mean([_correlation(position[one > 0], one[one > 0]), _correlation(position[one < 0], one[one < 0])])
                for one in evidence.T
            ]
        ),
        "held_leading_real": np.median(leading.real),
        "held_leading_imag": np.median(np.abs(leading.imag)),
        "held_second_real": np.median(second),
    }


def _nothing(evidence: int) -> dict[str, Any]:
    """Where there is nothing to measure."""
    return dict.fromkeys(SCALARS, np.nan) | {name: np.full(evidence, np.nan) for name in BY_EVIDENCE}


def states_at(
    network: xr.Dataset,
    inputs: Float[np.ndarray, "trial time input"],
    steps: Int[np.ndarray, "trial"],
    dt: float,
) -> Float[Tensor, "trial unit"]:
    """The state of one seed of a `network.nc` in each trial after so many steps, in double precision."""
    flow = flow_of(network, np.zeros(inputs.shape[-1]), dt)
    states = torch.from_numpy(network["initial_state"].values).double().expand(len(inputs), -1)
    found, last = states.clone(), torch.from_numpy(steps)
    for step in range(int(steps.max())):
        states = states + flow.alpha * flow.driven_force(states, torch.from_numpy(inputs[:, step]).double())
        found = torch.where((last == step + 1)[:, None], states, found)
    return found


def _trials_under(
    static: Float[np.ndarray, "input"], trials: xr.Dataset, columns: list[int]
) -> tuple[Bool[np.ndarray, "trial"], Int[np.ndarray, "trial"]]:
    """Which trials have the other inputs of a constant one when the evidence ends, and after how many steps it does."""
    times = trials["delay_time"].values
    known = np.isfinite(times)
    ends = np.rint(np.where(known, times / trials.attrs["dt"], 1.0)).astype(int)
    clean = trials.get("clean_inputs", trials["inputs"]).values
    others = [column for column in range(len(static)) if column not in columns]
    at_end = clean[np.arange(len(clean)), ends - 1][:, others]
    return np.isclose(at_end, static[others], atol=1e-6).all(1) & known, ends


def _correlation(a: Float[np.ndarray, "trial"], b: Float[np.ndarray, "trial"]) -> float:
    """``|r|``; NaN where it has no meaning."""
    if len(a) < LEAST_TRIALS // 2 or not np.ptp(a) or not np.ptp(b):
        return np.nan
    return float(abs(np.corrcoef(a, b)[0, 1]))


def _leading(flow: Flow, states: Float[Tensor, "state unit"]) -> tuple[np.ndarray, np.ndarray]:
    """The leading eigenvalue (1/s) at each state, and the real part of the next that is not its conjugate."""
    values = np.linalg.eigvals(flow.jacobian(states).numpy()) / flow.tau
    order = np.take_along_axis(values, np.argsort(-values.real, axis=1), axis=1)
    leading = order[:, 0]
    others = np.where(
        np.isclose(order[:, 1:], np.conj(leading)[:, None]) & (leading.imag != 0)[:, None], -np.inf, order[:, 1:].real
    )
    return leading, others.max(1)


def held(task: Task, members: Iterable[Member], trials: xr.Dataset, conditions: Sequence[str]) -> xr.Dataset:
    """`held_evidence` of networks under some of the static inputs of a task, by network, condition and evidence."""
    static, labels, found = task.static_inputs(), [], []
    columns = [list(trials["input"].values).index(name) for name in task.evidence_inputs]
    for member in members:
        assert member.network is not None
        labels.append(member.label)
        network = member.network.isel(seed=0)
        found.append([held_evidence(network, np.array(static[name], float), trials, columns) for name in conditions])
    by_condition = ("network", "condition")
    return xr.Dataset(
        {name: (by_condition, [[one[name] for one in row] for row in found]) for name in SCALARS}
        | {name: ((*by_condition, "evidence"), [[one[name] for one in row] for row in found]) for name in BY_EVIDENCE},
        coords={"network": labels, "condition": list(conditions), "evidence": list(task.evidence_inputs)},
    )
