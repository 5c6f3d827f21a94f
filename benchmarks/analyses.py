"""Time of the analyses beside that of the usual tools, on the same arrays, one core, in less than ten minutes.

Activity is that of networks of a finished grid. Tools that are not installed are left out (`pip install .[oracles]`).
The share of zeros found is on networks whose zeros are known, and needs no grid.

    python benchmarks/analyses.py results
    python benchmarks/analyses.py            # the share of zeros alone
"""

import argparse
import importlib.util
import sys
from collections.abc import Callable, Sequence
from itertools import combinations, product
from pathlib import Path

import numpy as np
import scipy.optimize
import scipy.spatial
import torch
import xarray as xr
from common import Bound, one_core, side_by_side, table, timed, verdicts, write_section

from insd import plugins
from insd.analysis.similarity import SimilaritySettings as Similarity
from insd.datasets import read
from insd.dynamics.flow import Flow, flow_of
from insd.dynamics.linearisation import linearise
from insd.dynamics.operators import fit_operator
from insd.dynamics.search import trajectory_states
from insd.dynamics.settings import DynamicalSimilarity, FixedPoints
from insd.dynamics.similarity import dynamical_similarity
from insd.dynamics.zeros import ZERO_SPEED, merge, minimise_speed, seek
from insd.errors import InsdError
from insd.evaluation.decoding import decode
from insd.measures.base import TIME_STRIDE, Activity, find_measures
from insd.measures.pairs import prepare
from insd.measures.pairs import similarity as all_measures

sys.path.append(str(Path(__file__).parents[1] / "tests"))
from zeros import independent_memories, zeros_by_scan

TASK = "flip_flop"
REPEATS = 3
FEW = 4
"""Networks that tools which take seconds a network or a pair are run on."""
OPTIONAL = {"repsim": "repsim", "cca_zoo": "cca-zoo", "rsatoolbox": "rsatoolbox", "DSA": "dsa-metric", "mne": "mne"}
"""Tools by the names of their modules and packages."""
TOLERANCE = 1e-4
"""Angle in rad by which a distance may lie above a tool's and count as equal: the tool computes in single precision."""
ITERATIONS, STEP_SIZE, TOL_Q, TOL_DQ = 5000, 0.05, 1e-12, 1e-20
"""FixedPointFinder's defaults: most iterations of Adam, its step size, and when a start is done."""
ZERO = 1e-10
"""Speed q below which an end counts as a zero of the flow here: what single precision can reach."""
ROWS: list[list[object]] = []


def main() -> None:
    """Write the sections: the share of zeros; what, ours, the tool, ratio; distances and zeros side by side; bounds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, nargs="?", help="folder of a finished grid")
    results = parser.parse_args().results
    one_core()
    torch.set_num_threads(1)
    known_zeros()
    if results is None:
        return
    folder = results / TASK
    try:
        networks = trained_networks(folder)
        if len(networks) < FEW:
            parser.error(
                f"{folder} holds {len(networks)} trained networks, at least {FEW} are needed; run the workflow"
            )
        trials = read(folder / "trials/test.nc", "trials")
        few = [networks[i] for i in np.linspace(0, len(networks) - 1, FEW).round().astype(int)]
        bounds = [similarity_matrix(networks[:55])]
        similarity([rates_of(one) for one in few[:2]])
        bound, distances = dynamics(networks[:50], few)
        bounds.append(bound)
        of_points, zeros = points([read_network(one) for one in few[:3]], trials)
        bounds += of_points
        decoders(rates_of(few[0]), trials)
    except InsdError as error:
        sys.exit(f"error: {error}")
    head = ["analysis; tool", "ours (s)", "tool (s)", "times as fast", "ours, pair of many (s)", "times as fast"]
    installed = [package for module, package in OPTIONAL.items() if importlib.util.find_spec(module)]
    write_section(
        "Analyses",
        "3-bit flip-flop, networks of the grid. A pair of many: what a pair costs among many networks, whose "
        "statistics are computed once each.\n\n"
        + table(head, [one + [""] * (len(head) - len(one)) for one in ROWS])
        + "\nFixedPointFinder (Golub & Sussillo 2018) and netrep are not on the package index and were not run. What "
        "stands beside our fixed points is a re-implementation of the former's method with its documented defaults: "
        f"Adam on the mean speed of all starts of the step map, in single precision, step size {STEP_SIZE} and "
        f"seven tenths of it every 500 iterations, until each start has a speed below {TOL_Q:.0e} or one that changed "
        f"by less than {TOL_DQ:.0e}, or for {ITERATIONS} iterations.\n\n"
        + zeros
        + (f"\nDistances in rad between operators that dsa-metric fitted, by both:\n\n{distances}" if distances else "")
        + "\n"
        + verdicts(bounds),
        ("torch", "numpy", "scipy", "scikit-learn", *installed),
    )


def known_zeros() -> None:
    """Write the section on networks all of whose zeros are known: the share found, from starts alone and in all."""
    rows: list[list[object]] = []
    shares = []
    for count, gain in product((3, 4), (1.5, 3.0)):
        weights, zeros = independent_memories(count, 120, gain)
        # Inputs into all memories, since states that trials never visit are no starts.
        mixed = 10 * np.random.default_rng(count).standard_normal((count, 3))
        input_weights = np.linalg.svd(weights)[0][:, :count] @ mixed
        what = f"{count} independent memories of gain {gain:g}, in closed form"
        shares.append(_share_found(what, [(weights, input_weights, np.zeros(120), zeros)], rows))
    for rank, cells, overlap in ((1, 1000, 2.5), (2, 300, 2.5), (3, 70, 2.5)):
        networks = []
        for seed in range(8):
            random = np.random.default_rng([rank, seed])
            left, drive = random.standard_normal((100, rank)), 0.05 * random.standard_normal(100)
            right = overlap * left + 0.5 * random.standard_normal((100, rank))
            zeros, index = zeros_by_scan(left, right, drive, cells)
            if index == 1:
                networks.append((left @ right.T / 100, random.standard_normal((100, 3)), drive, zeros))
        what = f"{len(networks)} networks of rank {rank}, by a scan of {cells}{f'^{rank}' * (rank > 1)} cells"
        shares.append(_share_found(what, networks, rows))
    head = ["networks", "zeros", "found from starts", "found in all", "other zeros", "from starts (s)", "in all (s)"]
    write_section(
        "Zeros found",
        f"Networks of 100 or 120 units all of whose zeros are known, from {FixedPoints().starts} states on trials of "
        "the 3-bit flip-flop, half of them with noise, as the analysis takes them. The search goes on from midpoints "
        "of the zeros that these starts lead to. Scans whose zeros do not have the sum of indices that they must have, "
        "1, are left out.\n\n"
        + table(head, rows)
        + "\n"
        + verdicts([Bound("all 27 zeros of three memories", f"{100 * min(shares[:2]):.0f} %", min(shares[:2]) == 1)]),
        ("torch", "numpy", "scipy"),
    )


def _share_found(
    what: str, networks: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]], rows: list[list[object]]
) -> float:
    """Add the row of some networks, given by their weights, input weights, bias and zeros; the share found in all."""
    settings, trials = FixedPoints(), plugins.find("task", TASK)().sample("test", 256, 0)
    counts, others, times = np.zeros(3, int), 0, np.zeros(2)
    for weights, input_weights, bias, zeros in networks:
        units = len(weights)
        network = xr.Dataset(
            {
                "recurrent_weights": (("unit", "unit_from"), weights),
                "input_weights": (("unit", "input"), input_weights),
                "bias": ("unit", bias),
                "output_weights": (("output", "unit"), input_weights.T),
                "output_bias": ("output", np.zeros(3)),
                "initial_state": ("unit", np.zeros(units)),
            },
            attrs={"dt": trials.attrs["dt"], "tau": 0.1},
        )
        flow = flow_of(network, np.zeros(3), trials.attrs["dt"])
        starts = trajectory_states(network, trials, settings, np.random.default_rng(0))
        random = np.random.default_rng(0)
        for number, search in enumerate(
            (
                lambda flow=flow, starts=starts: minimise_speed(flow, starts),
                lambda flow=flow, starts=starts, random=random: seek(flow, starts, settings, random),
            )
        ):
            seconds, (states, speed) = timed(search)
            found = states[speed < ZERO_SPEED].numpy()
            counts[number + 1] += (scipy.spatial.distance.cdist(zeros, found).min(1) < settings.merge_radius).sum()
            times[number] += seconds
        counts[0] += len(zeros)
        others += len(found) - (scipy.spatial.distance.cdist(found, zeros).min(1) < settings.merge_radius).sum()
    shares = [f"{count} ({100 * count / counts[0]:.1f} %)" for count in counts[1:]]
    rows.append([what, counts[0], *shares, others, *(f"{seconds:.2f}" for seconds in times)])
    return float(counts[2] / counts[0])


def trained_networks(folder: Path) -> list[tuple[Path, int]]:
    """File and index of the seed of all trained networks of a task: standard ones first, then the chains."""
    files = sorted(folder.glob("*/seeds-*/round-*/network.nc"))
    trained = [file for file in files if file.parts[-4] != "untrained"]
    trained.sort(key=lambda file: not file.parts[-4].startswith("standard"))
    return [(file, index) for file in trained for index in range(read(file, "network").sizes["seed"])]


def read_network(network: tuple[Path, int]) -> xr.Dataset:
    """One seed of a `network.nc`."""
    return read(network[0], "network").isel(seed=network[1])


def rates_of(network: tuple[Path, int]) -> np.ndarray:
    """The activity of a network on the test trials."""
    return read(network[0].with_name("activity.nc"), "activity", ["rates"])["rates"].values[network[1]]


def row(
    name: str, ours: Callable[[], object], tool: Callable[[], object], ours_per: int = 1, tool_per: int = 1
) -> None:
    """Time both in turn; `ours_per` and `tool_per` are how many units of the row each call does."""
    found = side_by_side({"ours": ours, "tool": tool}, REPEATS)
    first, second = found["ours"] / ours_per, found["tool"] / tool_per
    ROWS.append([name, f"{first:.4g}", f"{second:.4g}", f"{second / first:.1f}"])


def similarity_matrix(networks: Sequence[tuple[Path, int]]) -> Bound:
    """All measures between 55 networks, from their activity in memory on."""
    measures = find_measures(Similarity().measures)
    prepared, seconds = {}, 0.0
    for number, network in enumerate(networks):
        rates, weights = rates_of(network), read_network(network)["output_weights"].values
        taken, prepared[str(number)] = timed(lambda rates=rates, weights=weights: prepare(rates, weights, measures))
        seconds += taken
    between, _ = timed(lambda: all_measures(prepared, measures, 0))
    measured = f"{seconds + between:.1f} s for {len(networks)}, of which statistics of each {seconds:.1f} s"
    return Bound(
        "similarity of 55 networks in less than 20 s",
        measured,
        seconds + between < 20 if len(networks) == 55 else None,
        f"the grid has {len(networks)} trained networks of the task"
        if len(networks) < 55
        else "the products of all bases with each other, shuffled and not, in single precision are most of it",
    )


def similarity(rates: list[np.ndarray]) -> None:
    """Measures of one pair, from activity as the tools', and as one pair of many."""
    raw = [one[:, ::TIME_STRIDE].reshape(-1, one.shape[-1]) for one in rates]
    few = [one[:: len(one) // 1000][:1000].astype(float) for one in raw]

    def beside(title: str, name: str, tool: Callable[[], object]) -> None:
        measure = find_measures([name])[0]
        prepared = [measure.prepare(Activity(one)) for one in rates]
        found = side_by_side(
            {
                "activity": lambda: measure.compare(*(measure.prepare(Activity(one)) for one in rates)),
                "tool": tool,
                "many": lambda: measure.compare(*prepared),
            },
            REPEATS,
        )
        ratios = {of: f"{found['tool'] / found[of]:.1f}" for of in ("activity", "many")}
        ours, theirs, many = (f"{found[of]:.4g}" for of in ("activity", "tool", "many"))
        ROWS.append([title, ours, theirs, ratios["activity"], many, ratios["many"]])

    beside("Procrustes, pair; scipy", "procrustes", lambda: scipy.spatial.procrustes(*raw))
    if importlib.util.find_spec("repsim"):
        import repsim  # noqa: PLC0415

        beside(
            f"CKA, pair of {len(raw[0])} samples; repsim, {len(few[0])} samples",
            "cka",
            lambda: repsim.cka(few, kernel_type="linear", estimator="song"),
        )
    if importlib.util.find_spec("cca_zoo"):
        from cca_zoo.linear import CCA  # noqa: PLC0415

        beside("CCA, pair; cca-zoo", "cca", lambda: CCA(n_components=10).fit(raw))
    if importlib.util.find_spec("rsatoolbox"):
        import rsatoolbox  # noqa: PLC0415

        patterns = [one[:: -(-len(one) // 512)] for one in raw]

        def tool() -> object:
            rdms = [rsatoolbox.rdm.calc_rdm(rsatoolbox.data.Dataset(one), method="euclidean") for one in patterns]
            return rsatoolbox.rdm.compare(*rdms, method="spearman")

        beside("RSA, pair, 512 patterns; rsatoolbox", "rsa", tool)


def dynamics(networks: Sequence[tuple[Path, int]], few: Sequence[tuple[Path, int]]) -> tuple[Bound, str]:
    """Operators of all networks and distances of all pairs, and the same of all pairs of a few by the usual tool.

    The tool's distances and ours, which the table holds, are between the same operators.
    """
    settings = DynamicalSimilarity()

    def distances(operators: dict[str, np.ndarray]) -> xr.Dataset:
        unknown = dict.fromkeys(operators, 0.0)
        return dynamical_similarity(operators, unknown, settings.starts, settings.iterations, 0)

    ours, operators = 0.0, {}
    for number, network in enumerate(networks):
        rates = rates_of(network)
        seconds, operators[str(number)] = timed(lambda rates=rates: fit_operator(rates, settings.delays, settings.rank))
        ours += seconds
    fits, pairs = ours, len(networks) * (len(networks) - 1) // 2
    ours += timed(lambda: distances(operators))[0]
    what = "dynamical similarity of 50 networks, at least 10 times as fast as dsa-metric at an equal or tighter minimum"
    if not importlib.util.find_spec("DSA"):
        return Bound(what, f"{ours:.0f} s for {len(networks)}", None, "dsa-metric is not installed"), ""
    from DSA.dmd import DMD  # noqa: PLC0415
    from DSA.simdist import SimilarityTransformDist  # noqa: PLC0415

    theirs, fit_seconds, pair_seconds = {}, [], []
    for number, network in enumerate(few):
        rates = rates_of(network)
        centred = torch.from_numpy(rates - rates.mean((0, 1))).float()
        model = DMD(centred, n_delays=settings.delays, rank=settings.rank)
        fit_seconds.append(timed(model.fit)[0])
        theirs[str(number)] = model.A_v.double().numpy()
    again = distances(theirs)["distance"].values
    rows: list[list[object]] = []
    above = []
    for i, j in combinations(range(len(few)), 2):
        # It normalises its arguments in place.
        pair = [torch.from_numpy(theirs[str(one)]).float().clone() for one in (i, j)]
        tool = SimilarityTransformDist(iters=1500, score_method="angular", lr=0.005)
        seconds, distance = timed(lambda pair=pair, tool=tool: float(tool.fit_score(*pair)))
        pair_seconds.append(seconds)
        above.append(again[i, j] - distance)
        rows.append([f"{i}, {j}", f"{distance:.4f}", f"{again[i, j]:.4f}"])
    fit, pair_time = float(np.mean(fit_seconds)), float(np.mean(pair_seconds))
    tool_whole = len(networks) * fit + pairs * pair_time
    ratio = f"{fit * len(networks) / fits:.1f}"
    ROWS.append(["DSA, operator of a network; dsa-metric", f"{fits / len(networks):.4g}", f"{fit:.4g}", ratio])
    ROWS.append(
        [
            f"DSA, {len(networks)} networks with operators and {pairs} pairs; dsa-metric from {len(few)} networks and "
            f"{len(rows)} pairs: its cost is that of each network and pair alone",
            f"{ours:.4g}",
            f"{tool_whole:.4g}",
            f"{tool_whole / ours:.1f}",
        ]
    )
    enough, tight = tool_whole >= 10 * ours, max(above) <= TOLERANCE
    bound = Bound(
        what,
        f"{tool_whole / ours:.1f} times for {len(networks)} networks, the tool extrapolated; ours minus the tool's "
        f"minimum {min(above):.1e} to {max(above):.1e} rad",
        enough and tight if len(networks) == 50 else None,
        f"the grid has {len(networks)} trained networks of the task"
        if len(networks) < 50
        else "too slow" * (not enough) + ", " * (not enough and not tight) + "a minimum missed" * (not tight),
    )
    return bound, table(["pair", "dsa-metric, 1,500 iterations", f"ours, {settings.starts} starts"], rows)


def finder(flow: Flow, starts: torch.Tensor) -> tuple[torch.Tensor, int]:
    """Ends of FixedPointFinder's method, written anew, from all starts, and its iterations.

    It takes the step map for the flow, whose speed is ``alpha^2`` times ours.
    """
    single = flow.single()
    states = starts.float().clone().requires_grad_()
    optimiser = torch.optim.Adam([states], lr=STEP_SIZE)
    schedule = torch.optim.lr_scheduler.StepLR(optimiser, step_size=500, gamma=0.7)
    before = torch.full((len(states),), torch.nan)
    iterations = 0
    while iterations < ITERATIONS:
        iterations += 1
        optimiser.zero_grad()
        speed = (flow.alpha * single.force(states)).square().sum(1) / 2
        speed.mean().backward()
        optimiser.step()
        schedule.step()
        speed = speed.detach()
        if bool(((speed < TOL_Q) | ((speed - before).abs() < TOL_DQ)).all()):
            break
        before = speed
    return states.detach().double(), iterations


def points(networks: Sequence[xr.Dataset], trials: xr.Dataset) -> tuple[list[Bound], str]:
    """Zeros of the flow from many starts, beside FixedPointFinder's method and scipy's root finder."""
    inputs = np.array(next(iter(plugins.find("task", TASK)().static_inputs().values())))
    settings = FixedPoints()
    ours, theirs = [], []
    rows: list[list[object]] = []
    as_good = as_stable = True
    for number, network in enumerate(networks):
        flow = flow_of(network, inputs, float(trials.attrs["dt"]))
        starts = trajectory_states(network, trials, settings, np.random.default_rng(0))
        if number == 0:
            _beside_scipy(flow, starts)

        def search(flow: Flow = flow, starts: torch.Tensor = starts) -> torch.Tensor:
            return seek(flow, starts, settings, np.random.default_rng(0))[0]

        ours.append(side_by_side({"ours": search}, REPEATS)["ours"])
        seconds, (ends, iterations) = timed(lambda flow=flow, starts=starts: finder(flow, starts))
        theirs.append(seconds)
        (share, *zeros), (their_share, *their_zeros) = (
            _quality(flow, states, settings.merge_radius) for states in (search(), ends)
        )
        as_good &= share >= their_share and zeros[0] >= their_zeros[0]
        as_stable &= zeros[1] >= their_zeros[1]
        shares = [f"{100 * one:.1f} %" for one in (share, their_share)]
        counts = (f"{found[0]} ({found[1]})" for found in (zeros, their_zeros))
        rows.append([number, f"{ours[-1]:.3g}", f"{seconds:.3g}", iterations, *shares, *counts])
    ratio = sum(theirs) / sum(ours)
    ROWS.append(
        [
            f"fixed points, {settings.starts} starts, mean of {len(networks)} networks; FixedPointFinder's method",
            f"{np.mean(ours):.4g}",
            f"{np.mean(theirs):.4g}",
            f"{ratio:.1f}",
        ]
    )
    head = ["network", "ours (s)", "its method (s)", "iterations"]
    head += [
        f"{which}: {what}"
        for what in (f"starts with q below {ZERO:.0e}", "zeros (stable)")
        for which in ("ours", "its")
    ]
    return [
        Bound(
            "fixed points from 512 starts, at least 10 times as fast as the published package's method",
            f"{ratio:.1f}",
            ratio >= 10,
        ),
        Bound(
            "as many zeros, from as many starts",
            f"{'in all' if as_good else 'not in all'} networks; as many stable ones "
            f"{'in all' if as_stable else 'not in all'}",
            as_good,
            "the search passes by a few saddles, and by no stable point" if as_stable else "stable points are missed",
        ),
    ], table(head, rows)


def _quality(flow: Flow, states: torch.Tensor, radius: float) -> tuple[float, int, int]:
    """Share of the ends that are zeros, the number of distinct ones, and of those that are stable as simulated."""
    speed = flow.speed(states)
    zero = speed < ZERO
    distinct = states[zero][merge(states[zero], speed[zero], radius)[0]]
    return float(zero.double().mean()), len(distinct), int(linearise(flow, distinct)["stable"][1].sum())


def _beside_scipy(flow: Flow, starts: torch.Tensor) -> None:
    """The general root finder, one start after the other, with our Jacobian."""
    few = starts[:16].numpy()

    def root() -> None:
        for start in few:
            scipy.optimize.root(
                lambda x: flow.force(torch.from_numpy(x)[None])[0].numpy(),
                start,
                jac=lambda x: flow.jacobian(torch.from_numpy(x)[None])[0].numpy(),
                tol=1e-12,
            )

    name = f"fixed points, per start ({len(starts)} in a batch); scipy.optimize.root"
    row(name, lambda: minimise_speed(flow, starts), root, len(starts), len(few))


def decoders(rates: np.ndarray, trials: xr.Dataset) -> None:
    """Decoding of one variable across times."""
    if not importlib.util.find_spec("mne"):
        return
    from mne.decoding import GeneralizingEstimator, cross_val_multiscore  # noqa: PLC0415
    from sklearn.linear_model import RidgeCV  # noqa: PLC0415
    from sklearn.model_selection import KFold  # noqa: PLC0415

    times = np.arange(0, rates.shape[1], 3)
    name, variable = next(iter(plugins.find("task", TASK)().variables(trials).items()))
    labels = variable.values[:, 0]
    estimator = GeneralizingEstimator(RidgeCV(np.logspace(-6, 2, 9)), scoring="r2", verbose=False)
    activity = rates[:, times].transpose(0, 2, 1).astype(float)
    folds = KFold(5, shuffle=True, random_state=0)
    row(
        f"decoding of one variable, {times.size} x {times.size} times; mne",
        lambda: decode(rates, {name: variable}, times, 5, 0),
        lambda: cross_val_multiscore(estimator, activity, labels, cv=folds, verbose=False),
    )


if __name__ == "__main__":
    main()
