"""The table of all networks: one row each, from the files of the rounds and the predictivity of each task."""

from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd
import xarray as xr

from insd.activity import participation_ratio
from insd.analysis.costs import costs
from insd.analysis.oscillation import dominant_frequency
from insd.analysis.rounds import Round, network_label
from insd.datasets import architecture_of
from insd.predictivity import null_projector_array
from insd.provenance import random_seed


def round_rows(
    task: str, reference: str, current: Round, trials: xr.Dataset, noise_probes: int
) -> list[dict[str, object]]:
    """What the files of one round say of its networks, one row per seed.

    `reference` is the population that round 0 of their chain belongs to, `iterations` the most that training was
    allowed; `schedule`, `multiplier` and `ridge` are those of the deflation, empty in round 0. `null_variance_share`
    is the variance of the rates in the null space of the readout over all their variance, `participation_ratio`,
    `dominant_frequency` (Hz) and `dominant_power_share` those of the null-space rates, and `mean_squared_rate` the mean
    over test trials, times and units. `trials` are those of the regime `test`, `noise_probes` the random vectors of the
    sensitivity to noise (`insd.analysis.costs`).
    """
    network, activity, recipe = current.network, current.activity, current.settings["recipe"]
    deflation = recipe["deflation"] if current.round_number else {}
    deflated = {name: deflation.get(name) for name in ("schedule", "multiplier", "ridge")}
    rows: list[dict[str, object]] = []
    for seed in activity["seed"].values:
        label = network_label(current.population, int(seed), current.round_number)
        rates = activity["rates"].sel(seed=seed).values
        null = rates @ null_projector_array(network["output_weights"].sel(seed=seed).values)
        frequency, power_share = dominant_frequency(null, float(network.attrs["dt"]))
        rows.append(
            {
                "task": task,
                "population": current.population,
                "reference": reference,
                "architecture": architecture_of(network),
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
                "dominant_frequency": frequency,
                "dominant_power_share": power_share,
                "mean_squared_rate": float(np.square(rates).mean()),
                **costs(network.sel(seed=[seed]), trials, noise_probes, random_seed("noise sensitivity", task, label)),
            }
        )
    return rows


def network_table(
    rows: Iterable[Mapping[str, object]],
    predictivity: Mapping[str, xr.Dataset],
    dsa: Mapping[str, xr.Dataset],
    points: Mapping[str, xr.Dataset],
    recordings: Mapping[str, xr.Dataset],
) -> pd.DataFrame:
    """The rows of all networks with what the analyses of their task say of them.

    `r2_null_to_reference` and `r2_null_max_to_earlier` are from the row's network to round 0 and to whichever earlier
    round it predicts best, `r2_null_shuffled_to_reference` the trial-shuffled baseline, `dsa_to_reference` the distance
    of dynamical similarity (rad); all empty in round 0. `n_fixed_points`, `n_stable_fixed_points`, `n_slow_points` and
    `n_cycles` are sums over the static inputs of the task, `runs_elsewhere` the mean share of autonomous runs that end
    at none of them. Where round 0 is a recording (`recordings`, by task, if there are any), r2 to it is that on
    held-out trials of the bank, and there is no distance to it.
    """
    table = pd.DataFrame(list(rows))
    # Grids without alternatives have these columns too.
    columns = ["r2_null_to_reference", "r2_null_max_to_earlier", "r2_null_shuffled_to_reference", "dsa_to_reference"]
    table[columns] = np.nan
    for index, row in table.iterrows():
        label = network_label(row["population"], row["seed"], row["round"])
        found = points[row["task"]].sel(searched_network=label)
        for name in ("n_fixed_points", "n_stable_fixed_points", "n_slow_points", "n_cycles"):
            table.loc[index, name] = int(found[name].sum())
        table.loc[index, "runs_elsewhere"] = float(found["share_elsewhere"].mean())
        if row["round"] == 0:
            continue
        earlier = [network_label(row["population"], row["seed"], k) for k in range(1, row["round"])]
        found = predictivity[row["task"]].sel(space="null", predictor=label)
        recorded = recordings.get(row["task"])
        if recorded is not None and row["population"] in recorded["recording"]:
            reference = recorded.sel(space="null", network=label, recording=row["population"])
        else:
            to = network_label(row["reference"], row["seed"], 0)
            reference = found.sel(target=to)
            distance = dsa[row["task"]]["distance"].sel(network=label, network_to=to)
            table.loc[index, "dsa_to_reference"] = float(distance)
        table.loc[index, "r2_null_to_reference"] = float(reference["r2"])
        table.loc[index, "r2_null_max_to_earlier"] = max(
            [float(reference["r2"]), *found["r2"].sel(target=earlier).values.tolist()]
        )
        table.loc[index, "r2_null_shuffled_to_reference"] = float(reference["r2_shuffled"])
    return table
