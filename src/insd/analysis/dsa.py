"""Dynamical similarity between all networks of a task."""

import math
from collections.abc import Mapping, Sequence
from itertools import chain

import pandas as pd
import xarray as xr

from insd.analysis.base import Analysis, AnalysisSettings, Column, Job
from insd.datasets import Contract
from insd.dynamics.settings import DynamicalSimilarity
from insd.kept import Pair
from insd.provenance import random_seed

CONTRACT = Contract(
    {
        "distance": ("network", "network_to"),
        "spectral_distance": ("network", "network_to"),
        "gradient_norm": ("network", "network_to"),
        "agreement": ("network", "network_to"),
        "embedding": ("network", "axis"),
        "spectral_embedding": ("network", "axis"),
        "stress": (),
        "spectral_stress": (),
        "eigenvalues_real": ("network", "mode"),
        "eigenvalues_imag": ("network", "mode"),
        "prediction_error": ("network",),
    },
    # A network whose activity does not vary has no operator.
    may_be_nan=frozenset(
        {"distance", "spectral_distance", "gradient_norm", "agreement", "embedding", "spectral_embedding"}
        | {"stress", "spectral_stress", "eigenvalues_real", "eigenvalues_imag", "prediction_error"}
    ),
)
"""What its file holds."""


class DSASettings(AnalysisSettings, DynamicalSimilarity):
    """Dynamical similarity analysis; the defaults were chosen by held-out prediction error (docs/science.md)."""


def compare(job: Job, pairs: Sequence[Pair]) -> None:
    """`insd.dynamics.similarity.align_pairs` of the rates on the test trials."""
    from insd.dynamics.similarity import align_pairs, network_operators

    own, named = job.settings, set(chain(*pairs))
    members = [member for member in job.members if member.label in named]
    operators, _ = network_operators(members, own.delays, own.rank, job.kept)
    align_pairs(operators, pairs, own.starts, own.iterations, random_seed("dsa", job.name), job.kept)


def run(job: Job) -> Mapping[str, xr.Dataset]:
    """`insd.dynamics.similarity` of the rates on the test trials."""
    from insd.dynamics.similarity import dynamical_similarity, network_operators

    own = job.settings
    operators, errors = network_operators(job.members, own.delays, own.rank, job.kept)
    seed = random_seed("dsa", job.name)
    return {"dsa": dynamical_similarity(operators, errors, own.starts, own.iterations, seed, job.kept)}


COLUMNS = {
    "dsa_to_reference": Column(
        "distance of dynamical similarity to the reference; empty in round 0", "rad", 0, round(math.pi, 2)
    )
}
"""What its column of `networks.csv` holds."""


def columns(result: xr.Dataset, table: pd.DataFrame) -> pd.DataFrame:
    """`dsa_to_reference`: the distance of dynamical similarity (rad) from a deflated network to its reference."""
    distance = result["distance"].reindex(network=table.index, network_to=table["reference_label"].unique())
    pairs = {name: xr.DataArray(list(labels), dims="row") for name, labels in _pairs(table).items()}
    values = distance.sel(pairs).where(xr.DataArray(table["round"].to_numpy() > 0, dims="row"))
    return pd.DataFrame({"dsa_to_reference": values.values}, index=table.index)


def _pairs(table: pd.DataFrame) -> dict[str, pd.Series]:
    return {"network": table.index.to_series(), "network_to": table["reference_label"]}


ANALYSIS = Analysis(
    description="Dynamical similarity between all networks of a task.",
    writes={"dsa": CONTRACT},
    run=run,
    over="pairs",
    compare=compare,
    settings=DSASettings,
    columns=columns,
    dictionary=COLUMNS,
    minutes=60,
)
"""What the workflow knows of this analysis."""
