"""What is kept of networks and pairs: only what is new is computed, and the files are those of a run from scratch."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr

from insd import plugins
from insd.activity import record_activity
from insd.analysis import base
from insd.analysis.base import compare_blocks, run_analysis
from insd.blocks import pairs_of
from insd.checkpoints import Checkpoint
from insd.datasets import DatasetError, read, write
from insd.dynamics.alignment import best_alignment
from insd.evaluation import costs
from insd.kept import Kept, kept_in
from insd.measures.base import find_measures
from insd.measures.pairs import compare, prepare
from insd.provenance import settings_fingerprint, trials_fingerprint
from insd.tasks.flip_flop import FlipFlop

PARAMETERS = {"channels": 1, "duration": 0.6}
TASK = FlipFlop(**PARAMETERS)
MADE = {"task": {"name": "flip_flop", "parameters": PARAMETERS}, "recipe": {"network": {"architecture": "rate"}}}
MADE["recipe"]["training"] = {"batch_size": 8, "validation_trials": 8}
SETTINGS = {
    "costs": {"noise_probes": 1},
    "curvature": {"trials": 4, "steps": 4},
    "decoding": {"time_stride": 10, "folds": 2},
    "dimensions": {},
    "dsa": {"rank": 4, "starts": 7, "iterations": 20},
    "feature_learning": {"trials": 2, "times": 2},
    "fixed_points": {"starts": 8, "block": 1.0, "blocks": 1},
    "inputs": {},
    "landscape": {"trials": 4, "points": 3},
    "moments": {"trials": 2, "repeats": 4, "noise_levels": [0.1]},
    "performance": {"grid_trials": 4},
    "robustness": {"trials": 8, "draws": 1},
    "signature_decoding": {"times": 1, "folds": 2},
    "similarity": {},
    "spikes": {"draws": 1},
    "stability": {"iterations": 8},
    "weight_distance": {"pairs": "all", "starts": 2},
}
"""Of every analysis that keeps what it finds, but for recordings."""
UNITS = {"p": 8, "q": 6, "r": 8}
"""Units of the networks of each population, in the order of the grid."""


class Grid:
    """The files of a tiny grid, and its analyses."""

    def __init__(self, folder: Path):
        self.folder = folder
        for number, regime in enumerate(("train", "test", "noisy")):
            trials = TASK.sample("train" if regime == "train" else "test", 24, number)
            write(trials.assign_attrs(fingerprint=trials_fingerprint(trials)), folder / f"{regime}.nc", "trials")
        for population in UNITS:
            self.make(population)

    def make(self, population: str, seed: int = 0) -> None:
        """A network whose weights are noise, and its activity."""
        random, units = np.random.default_rng([seed, *population.encode()]), UNITS[population]
        bank, test = (read(self.folder / f"{name}.nc", "trials") for name in ("train", "test"))
        shapes = {
            "recurrent_weights": ("unit", "unit_from"),
            "input_weights": ("unit", "input"),
            "output_weights": ("output", "unit"),
            "bias": ("unit",),
            "output_bias": ("output",),
            "initial_state": ("unit",),
        }
        sizes = {"unit": units, "unit_from": units, "input": test.sizes["input"], "output": 1}
        weights = {
            name: (("seed", *dims), random.standard_normal((1, *(sizes[dim] for dim in dims))).astype(np.float32) / 2)
            for name, dims in shapes.items()
        }
        about = {"dt": test.attrs["dt"], "tau": 0.1, "nonlinearity": "tanh", "settings": json.dumps(MADE)}
        network = xr.Dataset(
            weights | {"restarts": ("seed", [0])}, {"seed": [0]}, about | {"code_fingerprint": "c"}
        ).assign_coords(output=test["output"], input=test["input"])
        write(network, self.folder / population / "network.nc", "network")
        write(record_activity(network, TASK, bank, test, {}), self.folder / population / "activity.nc", "activity")

    def analyse(self, name: str, *populations: str, to: str = "analysis", **changes) -> dict[str, xr.Dataset]:
        """Its files for the networks of some populations; with `blocks`, those of the pairs of blocks are joined."""
        analysis = plugins.find("analysis", name)
        outputs = {file: str(self.folder / to / f"{file}.nc") for file in analysis.writes}
        blocks = changes.pop("blocks", {})
        inputs, arguments = self.arguments(name, populations, changes)
        if blocks:
            names = sorted(set(blocks.values()))
            inputs["pairs"] = [str(self.pair(name, pair, to)) for pair in pairs_of(names)]
            arguments["blocks"] = [blocks[one] for one in populations]
        run_analysis(name, "flip_flop", inputs, outputs, **arguments)
        return {file: read(path, file) for file, path in outputs.items()}

    def compare(self, name: str, blocks: dict[str, str], pair: tuple[str, str], to: str = "analysis", **changes):
        """The job of a pair of blocks; `blocks` are those of populations, in the order of the grid."""
        populations = [one for one, block in blocks.items() if block in pair]
        inputs, arguments = self.arguments(name, populations, changes)
        output = self.pair(name, pair, to)
        compare_blocks(name, "flip_flop", inputs, str(output), **arguments, blocks=[blocks[one] for one in populations])

    def pair(self, name: str, pair: tuple[str, str], to: str = "analysis") -> Path:
        """What the job of a pair of blocks writes."""
        return self.folder / to / "blocks" / name / f"{'-'.join(pair)}.pt"

    def arguments(self, name: str, populations: Sequence[str], changes: dict) -> tuple[dict, dict]:
        """The inputs and the other arguments of an analysis."""
        analysis = plugins.find("analysis", name)
        inputs = {
            "networks": [str(self.folder / one / "network.nc") for one in populations],
            "activities": [str(self.folder / one / "activity.nc") for one in populations],
            "trials": [str(self.folder / f"{regime}.nc") for regime in ("train", "test", "noisy")],
        }
        made_with = settings_fingerprint(MADE["task"], MADE["recipe"])
        role = changes.pop("role", "standard")
        own = analysis.settings.model_validate(SETTINGS.get(name, {})).model_dump()
        arguments = {
            "parameters": PARAMETERS,
            "rounds": [(one, "0", 0, role, made_with) for one in populations],
            "settings": own | changes.pop("settings", {}),
            "more": {"fixed_points": SETTINGS["fixed_points"]} if name == "stability" else {},
            "code": "c",
            "task_code": "t",
        }
        return inputs, arguments | changes


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return Grid(tmp_path_factory.mktemp("kept")).folder


@pytest.fixture
def grid(made, tmp_path):
    """A copy of the tiny grid."""
    copied = Grid.__new__(Grid)
    copied.folder = Path(shutil.copytree(made, tmp_path / "grid"))
    return copied


@pytest.fixture
def computed(monkeypatch):
    """The networks and pairs that are computed, as they are: labels without seed and round."""
    found = []
    add_network, add_pair = Kept.add_network, Kept.add_pair

    def network(self, label, values):
        found.append(label[0])
        add_network(self, label, values)

    def pair(self, labels, values):
        found.append("".join(label[0] for label in labels))
        add_pair(self, labels, values)

    monkeypatch.setattr(Kept, "add_network", network)
    monkeypatch.setattr(Kept, "add_pair", pair)

    def since_last():
        last, found[:] = sorted(found), []
        return last

    return since_last


def assert_same(found, expected):
    """Equal to the last bit, with the same attributes, dimensions and order."""
    for file, dataset in expected.items():
        assert found[file].identical(dataset), file
        assert list(found[file].variables) == list(dataset.variables)
        assert {name: one.dtype for name, one in found[file].items()} == {
            name: one.dtype for name, one in dataset.items()
        }


@pytest.mark.parametrize("name", SETTINGS)
def test_adding_and_removing_networks_computes_only_what_is_new(grid, computed, name):
    from_scratch = grid.analyse(name, "p", "q", "r", to="other")
    everything, over = computed(), plugins.find("analysis", name).over
    of_first = [one for one in everything if "q" not in one]
    assert ("p" in everything) or over == "pairs"
    grid.analyse(name, "p", "r")
    assert computed() == of_first
    # In between the others.
    assert_same(grid.analyse(name, "p", "q", "r"), from_scratch)
    new = [one for one in everything if "q" in one]
    # What the inputs leave of activity is computed of all networks where pairs are missing.
    assert computed() == (sorted([*new, "p", "r"]) if name == "inputs" else new)
    assert_same(grid.analyse(name, "p", "q", "r"), from_scratch)
    assert computed() == []
    removed = grid.analyse(name, "p", "r")
    assert computed() == []
    assert_same(removed, grid.analyse(name, "p", "r", to="removed"))
    assert computed() == of_first
    # What was kept of the network that was removed is dropped.
    grid.analyse(name, "p", "q", "r")
    assert "q" in "".join(computed())


def test_every_analysis_says_what_its_numbers_are_of():
    over = {name: plugins.find("analysis", name).over for name in plugins.names("analysis")}
    assert {over[name] for name in DIVIDED} == {"pairs"}
    assert {name for name, one in over.items() if one == "all"} == {
        *("axes", "corners", "degeneracy", "hard_cells", "kernel_decoding", "line_attractor", "rank", "readers"),
        *("responses", "teacher"),
    }
    assert {name for name, one in over.items() if one == "pairs"} == {
        *("dsa", "inputs", "landscape", "similarity", "stability", "weight_distance"),
    }


@pytest.mark.parametrize(
    "changes, again",
    [
        ({}, ""),
        ({"settings": {"noise_probes": 2}}, "pqr"),
        ({"code": "d"}, "pqr"),
        ({"task_code": "d"}, "pqr"),
        ({"parameters": PARAMETERS | {"pulse_rate": 2.0}}, "pqr"),
        ({"more": {"key": 1}}, "pqr"),
        ({"role": "control"}, "pqr"),
        # Which populations are analysed is no part of any of them.
        ({"settings": {"populations": ["p", "q", "r"]}}, ""),
    ],
)
def test_what_a_change_computes_again(grid, computed, changes, again):
    grid.analyse("costs", "p", "q", "r")
    computed()
    grid.analyse("costs", "p", "q", "r", **changes)
    assert "".join(computed()) == again


def test_which_seeds_are_analysed_is_no_part_of_any_network(grid, computed):
    grid.analyse("stability", "p", settings={"seeds": 1})
    assert computed() == ["p", "pp"]
    grid.analyse("stability", "p", settings={"seeds": 2})
    assert computed() == []


def test_a_changed_network_or_trials_are_computed_again(grid, computed):
    grid.analyse("similarity", "p", "q", "r")
    computed()
    before = grid.analyse("costs", "p", "q", "r")["costs"]
    computed()
    grid.make("q", seed=1)
    after = grid.analyse("costs", "p", "q", "r")["costs"]
    assert computed() == ["q"]
    assert (before["noise_sensitivity"] != after["noise_sensitivity"]).values.tolist() == [False, True, False]
    grid.analyse("similarity", "p", "q", "r")
    assert computed() == ["pq", "qq", "qr"]
    # Activity alone, too.
    path = grid.folder / "r/activity.nc"
    activity = read(path, "activity")
    write(activity.assign(rates=activity["rates"] * 0.9), path, "activity")
    grid.analyse("similarity", "p", "q", "r")
    assert computed() == ["pr", "qr", "rr"]
    trials = read(grid.folder / "noisy.nc", "trials")
    write(trials.assign(inputs=trials["inputs"] * 2), grid.folder / "noisy.nc", "trials")
    grid.analyse("costs", "p", "q", "r")
    assert computed() == ["p", "q", "r"]


def test_a_changed_version_of_a_package_computes_all_again(grid, computed, monkeypatch):
    grid.analyse("costs", "p")
    monkeypatch.setattr(base, "packages_fingerprint", lambda: "others")
    computed()
    grid.analyse("costs", "p")
    assert computed() == ["p"]


def flipped(path):
    """One bit in the middle of a number."""
    content = bytearray(path.read_bytes())
    at = content.index(torch.tensor(read(path.parents[1] / "costs.nc", "costs")["noise_sensitivity"].values[1]).numpy())
    content[at] ^= 1
    path.write_bytes(content)


def other_content(path):
    content = torch.load(path, weights_only=True)
    torch.save(content | {"state": {"fingerprints": ["x"], "networks": 3}}, path)


@pytest.mark.parametrize(
    "broken",
    [
        lambda path: path.unlink(),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(path.read_bytes()[:-700]),
        flipped,
        other_content,
        lambda path: shutil.rmtree(path.parent),
        lambda path: path.unlink() or path.mkdir(),
    ],
    ids=["removed", "empty", "truncated", "flipped", "other", "no folder", "a folder"],
)
def test_a_file_that_is_broken_is_computed_again_and_no_error(grid, computed, caplog, broken):
    expected = grid.analyse("costs", "p", "q", "r")
    computed()
    path = grid.folder / "analysis/kept/costs.pt"
    broken(path)
    there = path.exists()
    assert_same(grid.analyse("costs", "p", "q", "r"), expected)
    assert computed() == ["p", "q", "r"]
    assert (f"{path}: ignored" in caplog.text) == there
    if not path.is_dir():
        assert_same(grid.analyse("costs", "p", "q", "r"), expected)
        assert computed() == []


def test_a_job_that_is_stopped_keeps_what_it_has(grid, computed, monkeypatch):
    expected = grid.analyse("costs", "p", "q", "r", to="other")
    computed()
    of_one, left = costs.costs, iter([True, True])

    def stopped(*arguments):
        if not next(left, False):
            raise KeyboardInterrupt
        return of_one(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(costs, "costs", stopped)
        with pytest.raises(KeyboardInterrupt):
            grid.analyse("costs", "p", "q", "r")
    assert computed() == ["p", "q"]
    assert_same(grid.analyse("costs", "p", "q", "r"), expected)
    assert computed() == ["r"]


BLOCKS = {"p": "0", "q": "1", "r": "0"}
"""Blocks that do not follow the order of the grid."""
DIVIDED = [name for name in plugins.names("analysis") if plugins.find("analysis", name).compare]


@pytest.mark.parametrize("name", DIVIDED)
def test_blocks_give_the_file_of_one_job_and_divide_it_where_it_grew(grid, computed, name):
    from_scratch = grid.analyse(name, "p", "q", "r", to="other")
    pairs = [one for one in computed() if len(one) == 2]
    for pair in pairs_of(["0", "1"]):
        grid.compare(name, BLOCKS, pair)
    assert sorted(one for one in computed() if len(one) == 2) == pairs
    assert_same(grid.analyse(name, *BLOCKS, blocks=BLOCKS), from_scratch)
    assert computed() == []
    # A job that is run again, for its file was deleted or the networks came to other blocks, compares nothing again.
    divided = {"p": "00", "q": "1", "r": "01"}
    for pair in pairs_of(["00", "01", "1"]):
        grid.compare(name, divided, pair)
    assert [one for one in computed() if len(one) == 2] == []
    assert_same(grid.analyse(name, *BLOCKS, blocks=divided), from_scratch)
    kept = sorted(path.name for path in (grid.folder / "analysis/kept").rglob("*.pt"))
    # Weights have no distance from themselves: of a block of one network with itself, nothing is kept.
    own = [] if name == "weight_distance" else ["00-00.pt", "01-01.pt", "1-1.pt"]
    assert kept == sorted([*own, "00-01.pt", "00-1.pt", "01-1.pt"])
    # Of one job that grew into blocks, too.
    grid.analyse(name, "p", "q", "r", to="grown")
    computed()
    grid.compare(name, BLOCKS, ("0", "1"), to="grown")
    assert [one for one in computed() if len(one) == 2] == []


def test_a_network_that_is_added_to_a_block_is_compared_and_no_others(grid, computed):
    before = {"p": "0", "r": "1"}
    for pair in pairs_of(["0", "1"]):
        grid.compare("dsa", before, pair)
    assert computed() == ["p", "pr", "r"]
    for pair in (("0", "0"), ("0", "1")):
        grid.compare("dsa", BLOCKS | {"q": "0", "r": "1"}, pair)
    assert computed() == ["pq", "q", "qr"]


def test_a_pair_of_blocks_that_is_broken_or_of_other_networks_is_refused(grid, computed):
    for pair in pairs_of(["0", "1"]):
        grid.compare("dsa", BLOCKS, pair)
    grid.make("q", seed=1)
    with pytest.raises(DatasetError, match=r"blocks/dsa/1-1.pt: broken, or made of other networks .* blocks 1 and 1"):
        grid.analyse("dsa", *BLOCKS, blocks=BLOCKS)
    grid.compare("dsa", BLOCKS, ("1", "1"))
    grid.pair("dsa", ("0", "1")).write_bytes(b"")
    with pytest.raises(DatasetError, match=r"blocks/dsa/0-1.pt"):
        grid.analyse("dsa", *BLOCKS, blocks=BLOCKS)


def test_an_error_names_the_blocks(grid, monkeypatch):
    def fail(*arguments):
        raise np.linalg.LinAlgError("no convergence")

    monkeypatch.setattr("insd.dynamics.similarity.fit_operator", fail)
    with pytest.raises(np.linalg.LinAlgError) as raised:
        grid.compare("dsa", BLOCKS, ("0", "1"))
    assert raised.value.__notes__ == ["in dsa, networks of the blocks 0 and 1 of flip_flop"]


def test_what_is_found_is_written_while_it_is_computed(tmp_path, monkeypatch):
    monkeypatch.setattr(Checkpoint, "EVERY_SECONDS", 0.0)
    path, known = tmp_path / "kept.pt", {"p/0/0": "a", "q/0/0": "b"}
    found = {"file": xr.Dataset({"value": ("network", [1.5])}, {"network": ["p/0/0"]}, {"about": 3})}
    with kept_in(path, "x", known) as kept:
        kept.add_network("p/0/0", found)
        # As a process does that is killed here and started again, or a second one at the same time.
        with kept_in(path, "x", known) as other:
            assert other.networks["p/0/0"]["file"].identical(found["file"])
            other.add_pair(("p/0/0", "q/0/0"), {"r2": np.arange(3.0)})
    with kept_in(path, "x", known) as last:
        assert set(last.networks) == {"p/0/0"} and set(last.pairs) == {("p/0/0", "q/0/0")}
        np.testing.assert_array_equal(last.pairs["p/0/0", "q/0/0"]["r2"], np.arange(3.0))
    assert [one.name for one in tmp_path.iterdir()] == ["kept.pt"]
    # In the other order, a pair is a different one.
    assert kept.missing(["q/0/0", "p/0/0"]) == [("q/0/0", "q/0/0"), ("q/0/0", "p/0/0"), ("p/0/0", "p/0/0")]


def test_all_kinds_of_values_are_kept_as_they_are(tmp_path):
    dataset = xr.Dataset(
        {
            "single": ((), np.float32(1.5)),
            "count": ("point", np.arange(2)),
            "flag": ("point", np.array([True, False])),
            "missing": ("point", np.array([np.nan, np.inf]), {"units": "s", "level": np.float64(0.5)}),
            "none": (("point", "nothing"), np.zeros((2, 0))),
        },
        {
            "kind": ("point", np.array(["fixed", "slow"])),
            "name": ("point", np.array(["a", "bc"], dtype=object)),
            "unit": [0, 1],
        },
        {"criterion": np.int64(3), "why": "because"},
    )
    with kept_in(tmp_path / "kept.pt", "x", {"p": "a"}) as kept:
        kept.add_network("p", {"file": dataset})
    with kept_in(tmp_path / "kept.pt", "x", {"p": "a"}) as kept:
        found = kept.networks["p"]["file"]
    assert found.identical(dataset)
    assert list(found.variables) == list(dataset.variables)
    assert all(found[name].dtype == dataset[name].dtype for name in dataset.variables)


@pytest.mark.parametrize("rank, starts", [(4, 7), (5, 3), (12, 7), (21, 12)])
def test_the_alignment_of_a_pair_does_not_depend_on_others(rank, starts):
    """To the last bit: how products of matrices round may depend on their sizes, and on where in memory they are."""
    operators = torch.from_numpy(np.random.default_rng(0).standard_normal((5, rank, rank)))
    together = best_alignment(operators[0], operators[1:], starts, 60, 0)
    for number in range(4):
        alone = best_alignment(operators[0], operators[[number + 1]], starts, 60, 0)
        for name in ("angles", "transforms", "gradient_norms", "agreement"):
            assert torch.equal(getattr(alone, name)[0], getattr(together, name)[number]), name


def test_the_similarity_of_a_pair_does_not_depend_on_others():
    random = np.random.default_rng(0)
    measures = find_measures(["cka", "procrustes"])
    networks = {
        name: prepare(
            random.standard_normal((30, 12, units)).astype(np.float32), random.standard_normal((2, units)), measures
        )
        for name, units in (("a", 9), ("b", 13), ("c", 10), ("d", 11), ("e", 7))
    }
    among_all = Kept()
    compare(networks, among_all.missing(list(networks)), measures, 0, among_all)
    for pair in among_all.pairs:
        two = Kept()
        compare({name: networks[name] for name in dict.fromkeys(pair)}, [pair], measures, 0, two)
        for name, values in two.pairs[pair].items():
            np.testing.assert_array_equal(values, among_all.pairs[pair][name])
