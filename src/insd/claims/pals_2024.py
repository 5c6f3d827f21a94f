"""Statements on stochastic low-rank networks that are fitted to activity, in our words, with criteria that are ours.

Source: Pals et al. (2024), "Inferring stochastic low-rank recurrent neural networks from neural data". The publication
fits recordings and planted networks: that references and alternatives of deflation are fitted, and the statement on
alternatives, are ours. Criteria were fixed before any network of the study `low_rank` was fitted.
"""

import numpy as np
import pandas as pd
import xarray as xr

from insd.claims.base import (
    MOST,
    NO_ANSWER,
    NOT,
    PARTLY,
    REPRODUCED,
    Answer,
    Claim,
    Evidence,
    Publication,
    by_majority,
    interval_text,
)
from insd.cohorts import alternatives, network_labels, references, solved

FEW = 3
"""Latent variables that are few: as many as the publication needs for EEG, and as the flip-flop has bits."""
HALFWAY = 0.5
"""Of the way from no dynamics to the network itself."""
LEAST = 3
"""With fewer networks or chains there is no verdict."""
SCORES = {"d_h": "spectra", "d_stsp": "states"}
"""The distances of generated from held-out activity."""


def _fitted(evidence: Evidence, rows: pd.DataFrame) -> xr.Dataset | None:
    """The part of `rank.nc` on solved networks of these rows that were fitted; None where there is none."""
    if "rank" not in evidence.analyses:
        return None
    found = evidence.analyses["rank"]
    known = set(found["fitted"].values.tolist())
    labels = [label for label in network_labels(solved(rows)) if label in known]
    return found.sel(fitted=labels) if labels else None


def _few(count: int) -> Answer:
    return f"{count} solved networks with fits in this grid, {LEAST} needed", NO_ANSWER


def few_latent_variables(evidence: Evidence) -> Answer:
    """References need few latent variables."""
    found = _fitted(evidence, references(evidence.table, evidence.population))
    if found is None:
        return _few(0)
    # Without a higher rank to compare with, a rank is not known to be enough.
    ranks = found["rank_needed"].sel(quality="log_likelihood").values[found["largest_rank"].values > FEW]
    if len(ranks) < LEAST:
        return _few(len(ranks))
    share = float(np.mean(ranks <= FEW))
    said = ", ".join("none" if np.isnan(rank) else f"{rank:.0f}" for rank in ranks)
    return f"rank needed: {said}", by_majority(share)


def generated_activity(evidence: Evidence) -> Answer:
    """Fits of the largest rank generate activity with the spectra and states of held-out activity."""
    rows = [references(evidence.table, evidence.population), alternatives(evidence.table, evidence.population)]
    found = _fitted(evidence, pd.concat(rows))
    if found is None or found.sizes["fitted"] < LEAST:
        return _few(0 if found is None else found.sizes["fitted"])
    fits = evidence.analyses["rank"]
    largest = []
    for label, rank in zip(found["fitted"].values, found["largest_rank"].values, strict=True):
        of_rank = fits["value"].sel(network=((fits["fit_of"] == label) & (fits["rank"] == rank)).values)
        largest.append(of_rank[int(np.argmax(of_rank.sel(quality="log_likelihood").values))])
    said, near = [], []
    for number, (name, word) in enumerate(SCORES.items()):
        values = np.array([float(one.sel(quality=name)) for one in largest])
        without, itself = (found[one].sel(quality=name).values for one in ("without_dynamics", "itself"))
        way = (without - values) / (without - itself)
        by_chain = pd.Series(way, [label.rpartition("/")[0] for label in found["fitted"].values.tolist()]).dropna()
        if by_chain.index.nunique() < LEAST:
            return _few(by_chain.index.nunique())
        mean = evidence.mean(by_chain, number)
        near.append(mean[0] >= HALFWAY)
        said.append(f"{word} {interval_text(mean, 2)}")
    text = f"share of the way from no dynamics to the network itself: {', '.join(said)}; {len(largest)} networks"
    return text, REPRODUCED if all(near) else PARTLY if any(near) else NOT


def alternatives_need_more(evidence: Evidence) -> Answer:
    """Alternatives need a higher rank than the references of their chains."""
    own = _fitted(evidence, alternatives(evidence.table, evidence.population))
    theirs = _fitted(evidence, references(evidence.table, evidence.population))
    if own is None or theirs is None:
        return _few(0)
    ranks = [one["rank_needed"].sel(quality="log_likelihood").to_series() for one in (own, theirs)]
    by_seed = [one.set_axis(one.index.str.split("/").str[1]).dropna() for one in ranks]
    more = (by_seed[0] - by_seed[1].reindex(by_seed[0].index).to_numpy()).dropna()
    if more.index.nunique() < LEAST:
        return _few(more.index.nunique())
    mean, low, high = evidence.mean(more)
    text = f"rank needed by alternatives minus that of their references: {interval_text((mean, low, high), 1)}"
    verdict = REPRODUCED if low > 0 else PARTLY if mean > 0 else NOT
    return f"{text}; {more.index.nunique()} chains", verdict


CLAIMS = Publication(
    citation="Pals et al. (2024)",
    source="Pals et al. (2024), Inferring stochastic low-rank recurrent neural networks from neural data",
    claims=(
        Claim(
            id="few_latent_variables",
            text="A few latent variables with noise are enough for the activity of a trained network",
            criterion=(
                f"the rank that reaches 90 % (`analysis.rank.share`) of the gain in held-out log-likelihood of the "
                f"largest rank over no dynamics is at most {FEW} in at least {100 * MOST:g} % of references with fits "
                f"of more than {FEW}; partly: in more than half. No answer with fewer than {LEAST}"
            ),
            judge=few_latent_variables,
            reads=("rank",),
        ),
        Claim(
            id="generated_activity",
            text="Fits generate activity with the spectra and the states of activity that they have not seen",
            criterion=(
                f"fits of the largest rank are at least {HALFWAY:g} of the way from no dynamics to a second draw of "
                "the network itself, mean over references and alternatives, both by the distance of spectra D_H and by "
                f"that of states D_stsp; partly: by one of them. No answer with fewer than {LEAST} chains"
            ),
            judge=generated_activity,
            reads=("rank",),
            intervals=2,
        ),
        Claim(
            id="alternatives_need_more",
            text="Alternatives need more latent variables than the references of their chains",
            criterion=(
                "the rank needed, by log-likelihood, of alternatives minus that of the reference of the same chain, "
                "mean over chains: the interval excludes 0 from above. Partly: the mean is above 0. No answer with "
                f"fewer than {LEAST} chains"
            ),
            judge=alternatives_need_more,
            reads=("rank",),
            intervals=1,
        ),
    ),
)
"""The statements."""
