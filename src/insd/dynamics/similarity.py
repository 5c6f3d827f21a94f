"""Dynamical similarity of networks: how similar the rules are by which their activity evolves, whatever its geometry.

Each network's activity is fitted once by a linear operator (`insd.dynamics.operators`), and networks are compared by
the measures `insd.measures.dsa` and `insd.measures.dsa_spectrum` of their operators.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float
from sklearn.manifold import MDS

from insd.dynamics.alignment import best_alignment
from insd.dynamics.operators import fit_operator, prediction_error, spectrum
from insd.kept import Kept, Pair
from insd.measures.dsa_spectrum import DSASpectrum
from insd.members import Member

logger = logging.getLogger("insd.dynamics.similarity")


def network_operators(
    members: Iterable[Member], delays: int, rank: int, kept: Kept | None = None
) -> tuple[dict[str, Float[np.ndarray, "rank rank"]], dict[str, float]]:
    """Operators of networks by label, and their prediction errors; those in `kept` are taken from there.

    The operators are fitted on all trials, those whose prediction is tested on every second one.
    """
    kept = Kept() if kept is None else kept
    operators, errors = {}, {}
    for member in members:
        label = member.label
        if label not in kept.networks:
            rates = member.rates
            found = {"operator": (("row", "column"), fit_operator(rates, delays, rank))}
            error = {"prediction_error": prediction_error(rates[::2], rates[1::2], delays, rank)}
            kept.add_network(label, {"operator": xr.Dataset(found | error)})
            logger.info("%s: prediction error %.4f", label, error["prediction_error"])
        one = kept.networks[label]["operator"]
        operators[label], errors[label] = one["operator"].values, float(one["prediction_error"])
    return operators, errors


def dynamical_similarity(
    operators: Mapping[str, Float[np.ndarray, "rank rank"]],
    prediction_errors: Mapping[str, float],
    starts: int,
    iterations: int,
    seed: int,
    kept: Kept | None = None,
) -> xr.Dataset:
    """Distances between the dynamics of all networks, and maps of them, by the contract of `dsa.nc`.

    Parameters
    ----------
    operators : by label, `fit_operator` of each network.
    prediction_errors : by label, their `prediction_error`, kept with the results.
    starts : of the search per pair; see `insd.dynamics.alignment.best_alignment`.
    iterations : of the search from each start at most.
    seed : of the random starts, which are the same for all pairs.
    kept : pairs that are not compared again; those that are compared are added to it.

    Returns
    -------
    distance (network, network_to) : angular distance in rad, a metric; 0 between equivalent operators.
    gradient_norm, agreement (network, network_to) : how well each search converged, see `Alignment`.
    spectral_distance (network, network_to) : Wasserstein-2 distance between eigenvalues per step.
    embedding, spectral_embedding (network, axis) : the networks as points in a plane whose distances are nearest to
        those two distances by metric multidimensional scaling.
    stress, spectral_stress : Kruskal's stress-1 of the planes.
    eigenvalues_real, eigenvalues_imag (network, mode) : of the operators, the largest modulus first.
    prediction_error (network) : as given.

    A network whose operator is not finite has NaN in its rows.
    """
    kept = Kept() if kept is None else kept
    labels = list(operators)
    count = len(labels)
    stacked = np.stack([operators[label] for label in labels])
    finite = np.flatnonzero(np.isfinite(stacked).all((1, 2)))
    eigenvalues = np.stack([spectrum(operator) for operator in stacked])
    align_pairs(operators, kept.missing(labels), starts, iterations, seed, kept)
    names = ("distance", "gradient_norm", "agreement", "spectral_distance")
    measured = {name: np.full((count, count), np.nan) for name in names}
    for name, values in measured.items():
        values[finite, finite] = 1.0 if name == "agreement" else 0.0
    for i, j, found in kept.found(labels):
        for name, value in found.items():
            measured[name][i, j] = measured[name][j, i] = value

    maps: dict[str, tuple] = {}
    for name, distances in (("embedding", "distance"), ("spectral_embedding", "spectral_distance")):
        coordinates = np.full((count, 2), np.nan)
        coordinates[finite], stress = _plane(measured[distances][np.ix_(finite, finite)])
        maps[name] = (("network", "axis"), coordinates, {"long_name": f"plane nearest to {distances}"})
        maps[name.replace("embedding", "stress")] = ((), stress, {"long_name": "Kruskal's stress-1"})
    return xr.Dataset(
        {name: (("network", "network_to"), values) for name, values in measured.items()}
        | maps
        | {
            "eigenvalues_real": (("network", "mode"), eigenvalues.real),
            "eigenvalues_imag": (("network", "mode"), eigenvalues.imag),
            "prediction_error": ("network", [prediction_errors[label] for label in labels]),
        },
        coords={"network": labels, "network_to": labels},
    )


def align_pairs(
    operators: Mapping[str, Float[np.ndarray, "rank rank"]],
    pairs: Sequence[Pair],
    starts: int,
    iterations: int,
    seed: int,
    kept: Kept,
) -> None:
    """Compare the operators of pairs of networks, and add what is found to `kept`.

    Pairs of a network with itself, or with one whose operator is not finite, are left out. The other parameters are
    those of `dynamical_similarity`.
    """
    finite = {label for label, operator in operators.items() if np.isfinite(operator).all()}
    eigenvalues = {label: spectrum(operator) for label, operator in operators.items()}
    of_spectra = DSASpectrum()
    later: dict[str, list[str]] = {}
    for one, other in pairs:
        if one != other and {one, other} <= finite:
            later.setdefault(one, []).append(other)
    for number, (one, others) in enumerate(later.items(), start=1):
        # All pairs of a network in one batch, which `insd.measures.dsa.DSA.compare` does one by one.
        batch = torch.tensor(np.stack([operators[other] for other in others]))
        found = best_alignment(torch.tensor(operators[one]), batch, starts, iterations, seed)
        for place, other in enumerate(others):
            of_pair = {
                "distance": found.angles[place].numpy(),
                "gradient_norm": found.gradient_norms[place].numpy(),
                "agreement": found.agreement[place].numpy(),
                "spectral_distance": np.array(of_spectra.compare(eigenvalues[one], eigenvalues[other])),
            }
            kept.add_pair((one, other), of_pair)
        logger.info(
            "network %d of %d: %d pairs, largest relative gradient %.1e, mean agreement of starts %.2f",
            number,
            len(later),
            len(others),
            found.gradient_norms.max(),
            found.agreement.mean(),
        )


def _plane(distances: Float[np.ndarray, "network network"]) -> tuple[Float[np.ndarray, "network 2"], float]:
    """Points in a plane by metric multidimensional scaling from the classical solution on, and their stress-1."""
    if not distances.any():
        return np.zeros((len(distances), 2)), 0.0
    scaling = MDS(
        n_components=2,
        metric="precomputed",
        init="classical_mds",
        n_init=1,
        max_iter=1000,
        eps=1e-9,
        normalized_stress=True,
        random_state=0,
    )
    return scaling.fit_transform(distances), float(scaling.stress_)
