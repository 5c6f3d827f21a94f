"""The table of all networks: one row each, from the files of the rounds and the predictivity of each task."""

from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd
import xarray as xr

from insd.activity import participation_ratio
from insd.analysis.costs import costs
from insd.datasets import architecture_of
from insd.dynamics.oscillation import dominant_frequency, lowest_frequency
from insd.members import Round, network_label
from insd.predictivity import null_projector_array
from insd.provenance import random_seed

COUNTS = ("n_fixed_points", "n_stable_fixed_points", "n_not_returned_to", "n_slow_points", "n_cycles")
"""The counts of `fixed_points.nc` that the table has, summed over static inputs."""


def round_rows(
    task: str, reference: str, current: Round, trials: xr.Dataset, noise_probes: int
) -> list[dict[str, object]]:
    """What the files of one round say of its networks, one row per seed.

    `reference` is the population that round 0 of their chain belongs to, `iterations` the most that training was
    allowed; `schedule`, `multiplier` and `ridge` are those of the deflation, empty in round 0. `null_variance_share`
    is the variance of the rates in the null space of the readout over all their variance, `participation_ratio`,
    `dominant_frequency` (Hz) and `dominant_power_share` those of the null-space rates, `lowest_frequency` (Hz) that
    from which on the former is an oscillation, and `mean_squared_rate` the mean over test trials, times and units.
    `trials` are those of the regime `test`, `noise_probes` the random vectors of the sensitivity to noise
    (`insd.analysis.costs`).
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
                "role": current.role,
                "chain": f"{current.population}/{seed}",
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
                "lowest_frequency": lowest_frequency(rates.shape[1], float(network.attrs["dt"])),
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
    robustness: Mapping[str, xr.Dataset],
    recordings: Mapping[str, xr.Dataset],
) -> pd.DataFrame:
    """The rows of all networks with what the analyses of their task say of them.

    `r2_null_to_reference` and `r2_null_max_to_earlier` are from the row's network to round 0 and to whichever earlier
    round it predicts best. Beside each stands the trial-shuffled baseline of the same pair,
    `r2_null_shuffled_to_reference` and `r2_null_shuffled_max_to_earlier`, and `r2_null_shuffled_residual_to_reference`,
    the baseline without the time course that all trials share. `dsa_to_reference` is the distance of dynamical
    similarity (rad). All are empty in round 0. Where round 0 is a recording (`recordings`, by task, if there are any),
    r2 to it is that on held-out trials of the bank, without the last of the baselines, and there is no distance to it.

    `n_fixed_points`, `n_stable_fixed_points`, `n_not_returned_to`, `n_slow_points` and `n_cycles` are sums over the
    static inputs of the task, `runs_elsewhere` the mean share of autonomous runs that end at none of them, of which
    `runs_drifting` are slow, `runs_recurrent` keep their amplitude and the rest were still changing
    (`insd.analysis.fixed_points`).

    `score_half_step` and `solved_half_step` are those at half the time step, on the trials of the perturbations.
    `kick_half_time` is the time in s after the smallest kick at which the distance to the unperturbed rates is first at
    half of what it was (infinite if it never is), `kick_left` the share of it that is left at the end.
    """
    table = pd.DataFrame(list(rows))
    # Grids without alternatives have these columns too.
    baselines = ["r2_null_shuffled_to_reference", "r2_null_shuffled_residual_to_reference"]
    columns = ["r2_null_to_reference", "r2_null_max_to_earlier", "r2_null_shuffled_max_to_earlier", "dsa_to_reference"]
    table[[*columns, *baselines]] = np.nan
    for index, row in table.iterrows():
        label = network_label(row["population"], row["seed"], row["round"])
        found = points[row["task"]].sel(searched_network=label)
        for name in COUNTS:
            table.loc[index, name] = int(found[name].sum())
        for name in ("elsewhere", "drifting", "recurrent"):
            table.loc[index, f"runs_{name}"] = float(found[f"share_{name}"].mean())
        for name, value in _perturbed(robustness[row["task"]].sel(network=label)).items():
            table.loc[index, name] = value
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
        to_earlier = [reference, *(found.sel(target=one) for one in earlier)]
        nearest = to_earlier[int(np.argmax([float(one["r2"]) for one in to_earlier]))]
        table.loc[index, "r2_null_to_reference"] = float(reference["r2"])
        table.loc[index, "r2_null_shuffled_to_reference"] = float(reference["r2_shuffled"])
        table.loc[index, "r2_null_max_to_earlier"] = float(nearest["r2"])
        table.loc[index, "r2_null_shuffled_max_to_earlier"] = float(nearest["r2_shuffled"])
        if "r2_shuffled_residual" in reference:
            table.loc[index, "r2_null_shuffled_residual_to_reference"] = float(reference["r2_shuffled_residual"])
    return table.astype({"solved_half_step": bool})


def _perturbed(perturbed: xr.Dataset) -> dict[str, float | bool]:
    """What the table says of one network's `robustness.nc`."""
    score = perturbed["half_step_score"]
    sign = 1 if score.attrs["higher_is_better"] else -1
    kicks = perturbed["kick_recovery"].sel(space="full")
    size = kicks["kick_level"].where(kicks["kick_level"] > 0).min()
    half_time = left = float("nan")
    if np.isfinite(size):
        distance = kicks.sel(kick_level=size)
        within = distance["time_after"].values[distance.values <= 0.5]
        half_time, left = float(within[0]) if within.size else float("inf"), float(distance[-1])
    return {
        "score_half_step": float(score),
        "solved_half_step": bool(sign * float(score) >= sign * score.attrs["criterion"]),
        "kick_half_time": half_time,
        "kick_left": left,
    }
