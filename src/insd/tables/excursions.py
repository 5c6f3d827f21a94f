"""How far the loss of a network rose on its way, once it had been low: of training and of walks, from `history.nc`."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Float

from insd.analysis.base import Column

VARIABLES = ("held_out_loss", "held_out_score", "kept_loss", "excursion", "ceiling")
"""What is read of `history.nc`; the last three are of walks alone."""
COLUMNS = {
    "ceiling": Column(
        "loss that counts as low on the way: of walks their own ceiling, else 0.01 above the median fresh_loss of its "
        "solved standards; empty where there are none",
        "",
        0,
    ),
    "excursion": Column(
        "largest held-out loss on the way since it was first at or below the ceiling: at the evaluations of training, "
        "or after each step of a walk; empty if it never was",
        "",
        0,
    ),
    "excursion_tried": Column(
        "of walks: largest loss on the way, that of steps that were restored or taken back included", "", 0
    ),
}
"""The columns of `networks.csv` from `history.nc`."""


@dataclass(frozen=True)
class Way:
    """The loss of one network on its way."""

    losses: Float[np.ndarray, "point"]
    """Held-out loss, noise-free, at the evaluations of the attempt that is kept; of a walk, the loss that it keeps, at
    its anchor and after each step."""
    ceiling: float = math.nan
    """That of a walk, else NaN."""
    tried: float = math.nan
    """The largest loss of a walk, with all steps that were restored or taken back, else NaN."""

    def excursion(self, ceiling: float) -> float:
        """The largest loss since the first that is at most the ceiling, that one included; NaN if there is none."""
        (low,) = np.nonzero(self.losses <= ceiling)
        return float(self.losses[low[0] :].max()) if len(low) else math.nan


def ways(history: xr.Dataset, higher_is_better: bool) -> Iterator[tuple[int, Way]]:
    """The way of each network of a `history.nc`, by its seed.

    Of several attempts, the one that is kept ends with the best score, the first of equals, as in
    `insd.training.train_round`; `higher_is_better` is the task's.
    """
    for seed in history["seed"].values.tolist():
        own = history.sel(seed=seed)
        if "kept_loss" in own:
            losses = own["kept_loss"].isel(attempt=0).values.astype(float)
            yield seed, Way(losses, float(own["ceiling"]), float(own["excursion"].max()))
            continue
        ends = [values[-1:] for values in map(_known, own["held_out_score"].values)]
        sign = 1 if higher_is_better else -1
        kept = int(np.argmax([sign * float(end[0]) if len(end) else -math.inf for end in ends]))
        yield seed, Way(_known(own["held_out_loss"].values[kept]))


def _known(values: Float[np.ndarray, "iteration"]) -> Float[np.ndarray, "point"]:
    """Values up to the end of an attempt, whose row of the history is empty from there on."""
    return values[~np.isnan(values)].astype(float)


def with_excursions(table: pd.DataFrame, of_networks: Mapping[str, Way], largest_excess: float) -> pd.DataFrame:
    """The networks of one task with `COLUMNS`; empty for those without a history.

    Parameters
    ----------
    table : networks by label, with `fresh_loss` and `excess_loss`.
    of_networks : ways by label.
    largest_excess : largest loss of a matched network above the median of its standards.
    """
    # What is left of its loss without its excess is the median of its standards.
    low = table["fresh_loss"].astype(float) - table["excess_loss"].astype(float) + largest_excess
    found = []
    for label, ceiling in zip(table.index, low, strict=True):
        way = of_networks.get(str(label))
        if way is None:
            found.append((math.nan, math.nan, math.nan))
            continue
        own = way.ceiling if math.isfinite(way.ceiling) else ceiling
        found.append((own, way.excursion(own), way.tried))
    return table.join(pd.DataFrame(found, index=table.index, columns=list(COLUMNS), dtype=float))
