"""Of which task is a network? What readers say from its recurrent weights, biases and initial state alone.

Input and output weights are left out: how many there are would give the task away, of flip-flops the number of bits.
"""

import logging
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from insd.cohorts import UNTRAINED
from insd.datasets import read as read_file
from insd.networks.base import Additive, simulated_as
from insd.plugins import find
from insd.provenance import random_seed
from insd.readers.base import Weights
from insd.readers.fitting import Question, read
from insd.readers.settings.base import Fitting, ReaderSettings

logger = logging.getLogger(__name__)

COLUMNS = [
    *("reader", "tasks", "networks", "chains"),
    *(f"{name}{end}" for name in ("score", "shuffled") for end in ("", "_low", "_high")),
]
"""The columns, also where no network can be asked about."""
File = tuple[str, str, int]
"""A `network.nc`, its population and its round."""


def readings(
    table: pd.DataFrame,
    files: Mapping[str, Sequence[File]],
    references: Mapping[str, str],
    readers: Mapping[str, tuple[str, ReaderSettings]],
    fitting: Fitting,
    confidence: float,
) -> pd.DataFrame:
    """`readings.csv`: one row per reader that reads networks without inputs and outputs.

    Only networks that were trained and solve their task count, and only tasks with a chain for each part. Chains are
    held out whole, and networks whose units are not additive are left out, as for other questions
    (`insd.evaluation.readers.compare`).

    Parameters
    ----------
    table : `networks.csv`.
    files : by task, the networks.
    references : by population, the population of its references.
    readers : by the names of results, the reader's name and its settings.

    Returns
    -------
    tasks, networks, chains : the tasks, and how many.
    score, score_low, score_high : area under the ROC curve of each task against the rest, mean over tasks and parts,
        with its interval over resampled chains. Chance is .5.
    shuffled, shuffled_low, shuffled_high : the same with tasks dealt out to the networks at random.
    """
    counted = table[table["solved"].astype(bool) & (table["role"] != UNTRAINED)]
    parts: dict[str, Weights] = {}
    chains, numbers = [], []
    for task, of_task in files.items():
        names = counted.loc[counted["task"] == task, ["population", "seed", "round"]]
        known = set(names.itertuples(index=False, name=None))
        networks, own = {}, []
        for path, population, round_number in of_task:
            stored = read_file(path, "network")
            if not issubclass(simulated_as(stored), Additive):
                continue
            seeds = [seed for seed in stored["seed"].values.tolist() if (population, seed, round_number) in known]
            if seeds:
                networks[path] = stored.sel(seed=seeds)
            own += [f"{task}/{references[population]}/{seed}" for seed in seeds]
        if len(set(own)) >= fitting.folds:
            numbers += [len(parts)] * len(own)
            parts[task] = Weights.of_networks(list(networks.values()), list(networks)).without_ends()
            chains += own
    if len(parts) < 2:
        return pd.DataFrame(columns=COLUMNS)
    weights, seed = Weights.joined(parts), random_seed("readings") % 2**31
    question = Question("task", np.array(numbers, float), len(parts))
    asked = {"score": question, "shuffled": question.shuffled(seed)}
    tails = [(1 - confidence) / 2, (1 + confidence) / 2]
    rows = []
    for name, (file, settings) in readers.items():
        if find("reader", file).needs_ends:
            continue
        row = {"reader": name, "tasks": " ".join(parts), "networks": len(weights), "chains": len(set(chains))}
        for column, one in asked.items():
            found = read(file, settings, weights, one, chains, fitting, seed)
            low, high = np.nanquantile(found.draws(fitting.resamples, seed), tails)
            row |= {column: found.score, f"{column}_low": low, f"{column}_high": high}
            logger.info("%s, %s: %.3f", column, name, found.score)
        rows.append(row)
    return pd.DataFrame(rows, columns=COLUMNS)
