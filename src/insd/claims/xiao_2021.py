"""Statements on spiking networks with feedback and their equilibria, in our words, with criteria that are ours.

Source: Xiao et al., "Training feedback spiking neural networks by implicit differentiation on the equilibrium state"
(NeurIPS 2021, arXiv 2109.14247). The publication has no alternatives: the statements on deflation, on how many
equilibria there are, and that the error of leaky units stays, are ours, and so is the task. Criteria were fixed before
any network of the architecture was trained.
"""

from collections.abc import Callable

import numpy as np
import pandas as pd
import xarray as xr

from insd.claims.base import (
    MOST,
    NO_ANSWER,
    NOT,
    REPRODUCED,
    TOO_FEW,
    Answer,
    Claim,
    Evidence,
    Publication,
    by_share,
    pairs,
)
from insd.cohorts import network_labels, solved
from insd.tables.levels import QUANTILE

FEW, MANY = 100, 1000
"""The numbers of steps whose errors are compared."""
FALLS, STAYS = 1 / 5, 1 / 2
"""Of the error after `FEW` steps, the most that is left after `MANY` where it falls like 1/T (to 1/10), and the least
where it stays."""
NEAR = 0.05
"""Bound of the mean error of leaky units: 1 - leak, at the leak of .95, times the largest potential that is left, over
V."""
_TASKS = ("parity",)


def _networks(evidence: Evidence) -> pd.DataFrame:
    """Solved standards and alternatives with equilibria."""
    rows = pd.concat([evidence.standards, solved(evidence.alternatives)])
    return rows[rows["n_equilibria"].notna()] if "n_equilibria" in rows else rows[:0]


def _errors(evidence: Evidence, name: str) -> xr.DataArray | None:
    """Of solved standards and alternatives, (network, step); None where there are none, or not for these steps."""
    rows = _networks(evidence)
    if rows.empty or "equilibria" not in evidence.analyses:
        return None
    found = evidence.analyses["equilibria"][name].sel(network=network_labels(rows))
    return found if {FEW, MANY} <= set(found["step"].values.tolist()) else None


def _of_errors(name: str, holds: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Callable[[Evidence], Answer]:
    """Judges the errors after `FEW` and after `MANY` steps."""

    def judge(evidence: Evidence) -> Answer:
        if _networks(evidence).empty:
            return TOO_FEW
        errors = _errors(evidence, name)
        if errors is None:
            return f"no errors after {FEW} and {MANY} steps: add them to `analysis.equilibria.steps`", NO_ANSWER
        few, many = (errors.sel(step=count).values for count in (FEW, MANY))
        held = holds(few, many)
        found = (
            f"mean error {few.mean():.4f} after {FEW} steps and {many.mean():.4f} after {MANY}; as stated in "
            f"{held.sum()} of {len(held)}"
        )
        return found, by_share(float(held.mean()))

    return judge


def one_equilibrium(evidence: Evidence) -> Answer:
    """Standards and alternatives have one equilibrium under each static input."""
    rows = _networks(evidence)
    alternatives = int((rows["round"] > 0).sum()) if len(rows) else 0
    if not alternatives:
        return TOO_FEW
    counts = rows["n_equilibria"]
    found = (
        f"{counts.min():.0f} to {counts.max():.0f} in {len(counts) - alternatives} standards and {alternatives} "
        "alternatives"
    )
    return found, REPRODUCED if (counts == 1).all() else NOT


def other_geometry(evidence: Evidence) -> Answer:
    """Alternatives are unlike their reference, with one equilibrium like it."""
    rows = _networks(evidence)
    own = rows[rows["round"] > 0] if len(rows) else rows
    if own.empty or "predictivity" not in evidence.analyses:
        return TOO_FEW
    null = evidence.analyses["predictivity"].sel(space="null")["r2"]
    between = pairs(null, network_labels(evidence.standards))
    if not between.size:
        return TOO_FEW
    low = float(np.quantile(between, 1 - QUANTILE))
    r2 = own["r2_null_to_reference"].astype(float)
    held = ((r2 < low) & (own["n_equilibria"] == 1)).to_numpy()
    found = (
        f"null-space r² to the reference {r2.median():.3f} in the median of {len(own)} solved alternatives, "
        f"{held.sum()} of them below the {100 * (1 - QUANTILE):.0f} % quantile of standards ({low:.3f}) and with one "
        "equilibrium"
    )
    return found, by_share(float(held.mean()))


_OF_ALL = f"reproduced: in {100 * MOST:g} % of solved standards and alternatives; partly: in half"

CLAIMS = Publication(
    citation="Xiao et al. (2021)",
    source="Xiao et al. (2021), Training feedback spiking neural networks (arXiv 2109.14247)",
    claims=(
        Claim(
            id="if_rates_reach_the_equilibrium",
            text="Mean rates of integrate-and-fire units evolve to the equilibrium",
            criterion=(
                f"mean distance to the equilibrium after {MANY} steps at most {FALLS:g} of that after {FEW} (1/T would "
                f"be .1). {_OF_ALL}"
            ),
            judge=_of_errors("if_error", lambda few, many: many <= FALLS * few),
            reads=("equilibria",),
            tasks=_TASKS,
        ),
        Claim(
            id="lif_rates_come_near",
            text="Weighted mean rates of leaky units come near the equilibrium, up to a bounded error",
            criterion=f"mean distance after {MANY} steps at most {NEAR:g}, one less the leak. {_OF_ALL}",
            judge=_of_errors("lif_error", lambda few, many: many <= NEAR),
            reads=("equilibria",),
            tasks=_TASKS,
        ),
        Claim(
            id="lif_error_stays",
            text="The error of leaky units does not go to 0",
            criterion=f"mean distance after {MANY} steps at least {STAYS:g} of that after {FEW}. {_OF_ALL}",
            judge=_of_errors("lif_error", lambda few, many: many >= STAYS * few),
            reads=("equilibria",),
            tasks=_TASKS,
        ),
        Claim(
            id="one_equilibrium",
            text="There is one equilibrium for an input, in standards and in alternatives",
            criterion=(
                "reproduced: exactly one fixed point under each static input in all solved standards and alternatives; "
                "otherwise not"
            ),
            judge=one_equilibrium,
            tasks=_TASKS,
        ),
        Claim(
            id="deflation_changes_geometry_alone",
            text="Deflation changes the geometry of activity, and not the number of equilibria",
            criterion=(
                "null-space r², alternative → reference, below the "
                f"{100 * (1 - QUANTILE):.0f} % quantile of pairs of solved standards, with one equilibrium under each "
                f"static input. Reproduced: in {100 * MOST:g} % of solved alternatives; partly: in half"
            ),
            judge=other_geometry,
            reads=("predictivity",),
            tasks=_TASKS,
        ),
    ),
)
"""The statements."""
