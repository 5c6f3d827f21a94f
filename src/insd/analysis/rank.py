"""How good fits of each rank are, and the rank that the activity of a network needs."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import numpy as np
import xarray as xr
from pydantic import Field

from insd.analysis.base import Analysis, AnalysisSettings, Job
from insd.cohorts import network_label
from insd.datasets import Contract, DatasetError
from insd.settings.base import Count, NotNegative

if TYPE_CHECKING:
    from insd.members import Member
    from insd.settings.config import Settings

CONTRACT = Contract(
    dict.fromkeys(("rank", "latent_noise", "observation_noise", "fit_of"), ("network",))
    | {"value": ("network", "quality")}
    | {"largest_rank": ("fitted",), "fitted_role": ("fitted",)}
    | dict.fromkeys(("without_dynamics", "itself", "rank_needed"), ("fitted", "quality")),
    # Fits whose activity has no bound, ranks that no fit reaches, and the likelihood of networks themselves.
    may_be_nan=frozenset({"value", "itself", "rank_needed", "without_dynamics"}),
    text=frozenset({"fit_of", "fitted_role"}),
)
"""What its file holds."""


class RankSettings(AnalysisSettings):
    """The quality of fits by rank, on trials of the regime `test` with fresh private noise; made wherever a population
    has fits of networks."""

    share: Annotated[float, Field(gt=0, le=1)] = 0.9
    """Share of the gain of the largest rank over no dynamics that the rank needed reaches."""
    trials: Count = 64
    """The first trials of the regime, on which fits are judged."""
    components: Count = 3
    """Principal components of the fitted activity along which generated activity is compared with it."""
    smoothing: NotNegative = 2.0
    """Standard deviation, in frequencies, by which spectra are smoothed."""
    particles: Count = 64
    """Particles of the likelihood."""


def applies(settings: "Settings", task: str) -> bool:
    """Where a population has fits of networks."""
    return any(
        settings.population(name).make == "fit_low_rank" and settings.maker(name).settings.population is not None
        for name in settings.population_names(task)
    )


def run(job: Job) -> Mapping[str, xr.Dataset]:
    """Fits whose network is analysed, by rank; fits of recordings are left out."""
    from insd.evaluation.rank import QUALITIES, HeldOut, latent_noise, qualities_of, rank_needed

    known = {member.label: member for member in job.members}
    trials = job.trials["test"].isel(trial=slice(job.settings.trials))
    of_network: dict[str, list[Member]] = {}
    for member in job.members:
        made = member.settings["recipe"]
        if made.get("make") == "fit_low_rank" and made["maker"]["population"] is not None:
            label = network_label(made["maker"]["population"], member.seed, made["maker"]["round"])
            if label in known and known[label].network is not None:
                of_network.setdefault(label, []).append(member)
    fits, rows, needed, without, itself = [], [], [], [], []
    for label, members in of_network.items():
        (noise, *others) = {member.settings["recipe"]["maker"]["noise"] for member in members}
        if others:
            raise DatasetError(
                f"{job.name}: fits of {label} were made with different fit_low_rank.noise; give them the same, or name "
                "those to compare in analysis.rank.populations"
            )
        network, settings = known[label].network, job.settings
        assert network is not None
        held_out = HeldOut.of(network, trials, noise, settings.components, settings.smoothing, f"{job.name}/{label}")
        by_rank: dict[int, np.ndarray] = {}
        for member in members:
            assert member.network is not None
            rank = member.network.sizes["rank"]
            value = qualities_of(member.network, held_out, settings.particles)
            # Of several fits of a rank, the likeliest.
            if rank not in by_rank or value[0] > by_rank[rank][0]:
                by_rank[rank] = value
            fits.append(member)
            spread = float(np.sqrt(np.square(member.network["observation_noise"].values).mean()))
            rows.append((rank, latent_noise(member.network), spread, label, value))
        without.append(held_out.without_dynamics())
        itself.append(held_out.of_itself())
        needed.append((max(by_rank), rank_needed(by_rank, without[-1], settings.share)))
    labels = list(of_network)
    size = (len(labels), len(QUALITIES))
    by_quality = ("fitted", "quality")
    found = {
        "rank": ("network", np.array([row[0] for row in rows], int)),
        "latent_noise": ("network", np.array([row[1] for row in rows], float), {"units": "rate"}),
        "observation_noise": ("network", np.array([row[2] for row in rows], float), {"units": "rate"}),
        "fit_of": ("network", np.array([row[3] for row in rows], object)),
        "value": (("network", "quality"), np.array([row[4] for row in rows]).reshape(-1, len(QUALITIES))),
        "largest_rank": ("fitted", np.array([largest for largest, _ in needed], int)),
        "fitted_role": ("fitted", np.array([known[label].role for label in labels], object)),
        "without_dynamics": (by_quality, np.array(without).reshape(size)),
        "itself": (by_quality, np.array(itself).reshape(size)),
        "rank_needed": (by_quality, np.array([ranks for _, ranks in needed]).reshape(size)),
    }
    coords = {"network": [one.label for one in fits], "fitted": labels, "quality": list(QUALITIES)}
    return {"rank": xr.Dataset(found, coords, {"share": job.settings.share})}


ANALYSIS = Analysis(
    description="How good fits of each rank are on activity that they have not seen, and the rank that is needed.",
    writes={"rank": CONTRACT},
    run=run,
    settings=RankSettings,
    reads=("trials/test",),
    applies=applies,
    minutes=60,
)
"""What the workflow knows of this analysis."""
