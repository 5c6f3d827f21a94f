"""Time of the analyses beside that of the usual tools, on the same arrays, one core, medians of runs in turn.

Activity is that of a network of a finished grid. Tools that are not installed are left out (`pip install .[oracles]`).

    python benchmarks/analyses.py results
"""

import argparse
import importlib.util
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import scipy.optimize
import scipy.spatial
import torch
import xarray as xr
from common import one_core, side_by_side, table, write_section

from insd.analysis.decoding import decode
from insd.analysis.dsa import dynamical_similarity, fit_operator
from insd.analysis.fixed_points import flow_of, minimise_speed, trajectory_states
from insd.analysis.similarity import MEASURES, TIME_STRIDE, network_statistics
from insd.analysis.similarity import similarity as all_measures
from insd.datasets import read
from insd.settings import FixedPoints
from insd.tasks import TASKS

TASK = "flip_flop"
REPEATS = 3
ROWS: list[list[object]] = []


def main() -> None:
    """Write the section: what, ours, the tool, ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, help="folder of a finished grid")
    folder = parser.parse_args().results / TASK
    one_core()
    torch.set_num_threads(1)
    files = sorted(folder.glob("*/seeds-*/round-*/network.nc"))
    standards = [file for file in files if file.parts[-4].startswith("standard")][:8]
    if len(standards) < 3:
        parser.error(f"{folder} holds fewer than three standard networks")
    networks = [read(file, "network").isel(seed=[0]) for file in standards]
    rates = [rates_beside(file) for file in standards]
    trials = read(folder / "trials/test.nc", "trials")
    matrix = similarity_matrix(files)
    similarity(rates)
    distance = dynamics(rates)
    points_ratio = points(networks[0], trials)
    decoders(rates[0], trials)
    bounds = [
        ["similarity of 55 networks, below 20 s", f"{len(files)} networks in {matrix:.1f} s", _met(matrix < 20)],
        ["fixed points, at least 10 times as fast as the published package's method", *points_ratio],
        ["dynamical similarity, at least 10 times as fast as dsa-metric", *distance],
    ]
    write_section(
        "Analyses",
        "3-bit flip-flop, networks of the default grid. fixed-point-finder and netrep are not on the package index: "
        "they were not run.\n\n"
        + table(["analysis; tool", "ours (s)", "tool (s)", "times as fast"], ROWS)
        + "\n"
        + table(["bound", "measured", ""], bounds),
        ("torch", "numpy", "scipy", "scikit-learn"),
    )


def rates_beside(file: Path) -> np.ndarray:
    """The activity of the first seed of a round."""
    return read(file.with_name("activity.nc"), "activity", ["rates"])["rates"].values[0]


def row(
    name: str, ours: Callable[[], object], tool: Callable[[], object], ours_per: int = 1, tool_per: int = 1
) -> float:
    """Time both in turn; `ours_per` and `tool_per` are how many units of the row each call does. Returns the ratio."""
    found = side_by_side({"ours": ours, "tool": tool}, REPEATS)
    first, second = found["ours"] / ours_per, found["tool"] / tool_per
    ROWS.append([name, f"{first:.4g}", f"{second:.4g}", f"{second / first:.1f}"])
    return second / first


def similarity_matrix(files: list[Path]) -> float:
    """Seconds from the activity of all networks in memory to all measures between them."""
    rates = [rates_beside(file) for file in files]
    weights = [read(file, "network")["output_weights"].values[0] for file in files]
    start = time.perf_counter()
    statistics = {
        str(number): network_statistics(*of_one) for number, of_one in enumerate(zip(rates, weights, strict=True))
    }
    all_measures(statistics, 0)
    return time.perf_counter() - start


def similarity(rates: list[np.ndarray]) -> None:
    """Measures of one pair, given each network's statistics (ours) or activity (tools)."""
    x, y = (network_statistics(one) for one in rates[:2])
    flat = [one.directions.reshape(-1, one.directions.shape[-1]) for one in (x, y)]
    raw = [one[:, ::TIME_STRIDE].reshape(-1, one.shape[-1]) for one in rates[:2]]
    few = [one[:: len(one) // 1000][:1000].astype(float) for one in raw]
    spaces = x.spaces["full"], y.spaces["full"]

    def ours(name: str) -> Callable[[], object]:
        def measure() -> float:
            cross = spaces[0].basis.T @ (flat[0].T @ flat[1]).astype(float) @ spaces[1].basis
            return MEASURES[name](*spaces, cross)

        return measure

    row("Procrustes, pair; scipy", ours("procrustes"), lambda: scipy.spatial.procrustes(*raw))
    if importlib.util.find_spec("repsim"):
        import repsim  # noqa: PLC0415

        row(
            f"CKA, pair of {len(raw[0])} samples; repsim, {len(few[0])} samples",
            ours("cka"),
            lambda: repsim.cka(few, kernel_type="linear", estimator="song"),
        )
    if importlib.util.find_spec("cca_zoo"):
        from cca_zoo.linear import CCA  # noqa: PLC0415

        row("CCA, pair; cca-zoo", ours("cca"), lambda: CCA(n_components=10).fit(raw))
    if importlib.util.find_spec("rsatoolbox"):
        import rsatoolbox  # noqa: PLC0415

        patterns = [one[:: -(-len(one) // 512)] for one in raw]

        def tool() -> object:
            rdms = [rsatoolbox.rdm.calc_rdm(rsatoolbox.data.Dataset(one), method="euclidean") for one in patterns]
            return rsatoolbox.rdm.compare(*rdms, method="spearman")

        row("RSA, pair, 512 patterns; rsatoolbox", ours("rsa"), tool)


def dynamics(rates: list[np.ndarray]) -> list[str]:
    """Operators of a network, and the distance of a pair as one of many; what is said of the bound."""
    if not importlib.util.find_spec("DSA"):
        return ["dsa-metric is not installed", ""]
    from DSA.dmd import DMD  # noqa: PLC0415
    from DSA.simdist import SimilarityTransformDist  # noqa: PLC0415

    centred = torch.from_numpy(rates[0] - rates[0].mean((0, 1))).float()
    row(
        "DSA operator, 2 delays, rank 30; dsa-metric",
        lambda: fit_operator(rates[0], 2, 30),
        lambda: DMD(centred, n_delays=2, rank=30).fit(),
    )
    operators = {str(number): fit_operator(one, 2, 30) for number, one in enumerate(rates)}
    pair = [torch.from_numpy(operators[name]).float() for name in ("0", "1")]
    ratio = row(
        "DSA distance, pair, 12 starts; dsa-metric, one start, 1,500 iterations",
        lambda: dynamical_similarity(operators, dict.fromkeys(operators, 0.0), 12, 200, 0),
        lambda: SimilarityTransformDist(iters=1500, score_method="angular", lr=0.01).fit_score(
            *(one.clone() for one in pair)
        ),
        ours_per=len(rates) * (len(rates) - 1) // 2,
    )
    return [f"{ratio:.1f}", _met(ratio >= 10)]


def points(network: xr.Dataset, trials: xr.Dataset) -> list[str]:
    """Zeros of the flow from many starts; what is said of the bound.

    Beside scipy's root finder, one start after the other, with our Jacobian; and beside the published package's method
    (Golub & Sussillo 2018), written here: Adam on the speed of all starts at once, in single precision.
    """
    inputs = next(iter(TASKS[TASK]().static_inputs().values()))
    one = network.isel(seed=0)
    flow = flow_of(one, np.array(inputs), float(trials.attrs["dt"]))
    starts = trajectory_states(one, trials, FixedPoints(), np.random.default_rng(0))
    few = 16

    def root() -> None:
        for start in starts[:few].numpy():
            scipy.optimize.root(
                lambda x: flow.force(torch.from_numpy(x)[None])[0].numpy(),
                start,
                jac=lambda x: flow.jacobian(torch.from_numpy(x)[None])[0].numpy(),
                tol=1e-12,
            )

    weights, drive = flow.recurrent_weights.float(), flow.drive.float()

    def adam() -> torch.Tensor:
        states = starts.float().requires_grad_()
        optimiser = torch.optim.Adam([states], lr=0.1)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, 5000)
        for _ in range(5000):
            optimiser.zero_grad()
            loss = (torch.addmm(drive, torch.tanh(states), weights.T) - states).square().sum() / 2
            loss.backward()
            optimiser.step()
            schedule.step()
        return flow.speed(states.detach().double())

    def ours() -> torch.Tensor:
        return minimise_speed(flow, starts)[1]

    row(f"fixed points, per start ({len(starts)} in a batch); scipy.optimize.root", ours, root, len(starts), few)
    name = f"fixed points of {len(starts)} starts; Adam on the speed, 5,000 iterations"
    ratio = row(name, ours, adam)
    shares = [f"{100 * float((speeds < 1e-10).double().mean()):.0f} %" for speeds in (ours(), adam())]
    return [f"{ratio:.1f}; q below 1e-10 from {shares[0]} of the starts, with Adam {shares[1]}", _met(ratio >= 10)]


def decoders(rates: np.ndarray, trials: xr.Dataset) -> None:
    """Decoding of one variable across times."""
    if not importlib.util.find_spec("mne"):
        return
    from mne.decoding import GeneralizingEstimator, cross_val_multiscore  # noqa: PLC0415
    from sklearn.linear_model import RidgeCV  # noqa: PLC0415
    from sklearn.model_selection import KFold  # noqa: PLC0415

    times = np.arange(0, rates.shape[1], 3)
    name, variable = next(iter(TASKS[TASK]().variables(trials).items()))
    labels = variable.values[:, 0]
    estimator = GeneralizingEstimator(RidgeCV(np.logspace(-6, 2, 9)), scoring="r2", verbose=False)
    activity = rates[:, times].transpose(0, 2, 1).astype(float)
    folds = KFold(5, shuffle=True, random_state=0)
    row(
        f"decoding of one variable, {times.size} x {times.size} times; mne",
        lambda: decode(rates, {name: variable}, times, 5, 0),
        lambda: cross_val_multiscore(estimator, activity, labels, cv=folds, verbose=False),
    )


def _met(met: bool) -> str:
    return "met" if met else "not met"


if __name__ == "__main__":
    main()
