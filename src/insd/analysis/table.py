"""The table of all networks: one row each, from the files of the rounds and the predictivity of each task."""

from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd
import xarray as xr

from insd.activity import participation_ratio
from insd.analysis.rounds import Round, network_label
from insd.predictivity import null_projector_array


def round_rows(task: str, reference: str, current: Round) -> list[dict[str, object]]:
    """What the files of one round say of its networks, one row per seed.

    `reference` is the population that round 0 of their chain belongs to, `iterations` the most that training was
    allowed; `schedule`, `multiplier` and `ridge` are those of the deflation, empty in round 0. `null_variance_share`
    is the variance of the rates in the null space of the readout over all their variance, `participation_ratio` that
    of the null-space rates, and `mean_squared_rate` the mean over test trials, times and units.
    """
    network, activity, recipe = current.network, current.activity, current.settings["recipe"]
    deflation = recipe["deflation"] if current.round_number else {}
    deflated = {name: deflation.get(name) for name in ("schedule", "multiplier", "ridge")}
    rows: list[dict[str, object]] = []
    for seed in activity["seed"].values:
        rates = activity["rates"].sel(seed=seed).values
        null = rates @ null_projector_array(network["output_weights"].sel(seed=seed).values)
        rows.append(
            {
                "task": task,
                "population": current.population,
                "reference": reference,
                "gain": recipe["network"]["gain"],
                "seed": int(seed),
                "round": current.round_number,
                "iterations": recipe["training"]["iterations"],
                **deflated,
                "test_loss": float(activity["test_loss"].sel(seed=seed)),
                "score": float(activity["score"].sel(seed=seed)),
                "solved": bool(activity["solved"].sel(seed=seed)),
                "restarts": int(network["restarts"].sel(seed=seed)),
                "null_variance_share": null.var((0, 1)).sum() / max(rates.var((0, 1)).sum(), np.finfo(float).tiny),
                "participation_ratio": participation_ratio(null),
                "mean_squared_rate": float(np.square(rates).mean()),
            }
        )
    return rows


def network_table(rows: Iterable[Mapping[str, object]], predictivity: Mapping[str, xr.Dataset]) -> pd.DataFrame:
    """The rows of all networks, with their null-space predictivity towards the earlier networks of their chain.

    `r2_null_to_reference` and `r2_null_max_to_earlier` are from the row's network to round 0 and to whichever earlier
    round it predicts best, `r2_null_shuffled_to_reference` the trial-shuffled baseline; all empty in round 0.
    """
    table = pd.DataFrame(list(rows))
    for name in ("r2_null_to_reference", "r2_null_max_to_earlier", "r2_null_shuffled_to_reference"):
        table[name] = np.nan
    for index, row in table[table["round"] > 0].iterrows():
        labels = [network_label(row["population"], row["seed"], k) for k in range(1, row["round"] + 1)]
        labels.insert(0, network_label(row["reference"], row["seed"], 0))
        null = predictivity[row["task"]].sel(space="null", predictor=labels[-1], target=labels[:-1])
        table.loc[index, "r2_null_to_reference"] = float(null["r2"][0])
        table.loc[index, "r2_null_max_to_earlier"] = float(null["r2"].max())
        table.loc[index, "r2_null_shuffled_to_reference"] = float(null["r2_shuffled"][0])
    return table
