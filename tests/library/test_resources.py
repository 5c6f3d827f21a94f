"""The table of memory and run time, on benchmark files as Snakemake writes them."""

import math

import pytest
from conftest import config_of, laid_over

from insd.grid import Grid
from insd.memory import training_memory
from insd.resources import BenchmarkError, main, resources
from insd.settings.load import load
from insd.settings.recipe import Recipe
from insd.settings.sections import Trials
from insd.tasks.flip_flop import FlipFlop

HEADER = "s\th:m:s\tmax_rss\tmax_vms\tmax_uss\tmax_pss\tio_in\tio_out\tmean_load\tcpu_time\n"


def benchmark(path, seconds, memory):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{HEADER}{seconds}\t0:00:0{seconds}\t{memory}\t1\t1\t1\t0\t0\t98.5\t1\n")


@pytest.fixture
def folder(tmp_path):
    benchmark(tmp_path / "train_round/flip_flop/insd/seeds-0/round-0.tsv", 3600, 300.0)
    benchmark(tmp_path / "train_round/flip_flop/insd/seeds-1/round-0.tsv", 1800, 500.0)
    benchmark(tmp_path / "levels/all.tsv", 1, "NA")
    return tmp_path


def test_one_row_per_rule(folder):
    table = resources(folder)
    assert table.index.tolist() == ["levels", "train_round"]
    row = table.loc["train_round"]
    assert (row["jobs"], row["s_median"], row["s_max"], row["hours_total"]) == (2, 2700, 3600, 1.5)
    assert (row["mb_median"], row["mb_max"], row["cpu_percent_median"]) == (400, 500, 98.5)
    assert math.isnan(table.loc["levels", "mb_max"])


def test_the_table_is_printed(folder, capsys):
    main([str(folder)])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:3] == ["jobs", "s_median", "s_max"]
    assert lines[-1].split() == ["train_round", "2", "2700", "3600", "1.50", "400", "500", "98"]


def test_a_folder_without_benchmarks_is_named(tmp_path):
    with pytest.raises(BenchmarkError, match=r"holds no benchmark files"):
        resources(tmp_path)
    with pytest.raises(SystemExit, match=r"error: .*run the workflow first"):
        main([str(tmp_path)])
    with pytest.raises(SystemExit, match="usage"):
        main([])


@pytest.fixture(scope="module")
def study():
    """The grid of the study `failure` on two of its tasks."""
    return Grid(load(laid_over(config_of("failure"), {"tasks": {"vwm_swap_mean": None, "vwm_certain": None}})))


TREES = {"architecture": "dendritic_plane"}


@pytest.mark.parametrize(
    ("task", "population", "number", "networks", "trials", "network", "used"),
    [
        ("vwm_swap", "standard-g1.0", 0, 5, 24576, {}, 1313),
        ("vwm_swap", "insd", 1, 5, 24576, {}, 1449),
        ("vwm_feature", "standard-g1.0", 0, 5, 24576, {}, 1541),
        ("vwm_feature", "standard-g1.0", 0, 1, 24576, {}, 1051),
        ("vwm_feature", "standard-g1.0", 0, 5, 24576, {"units": 48}, 2561),
        ("vwm_feature", "standard-g1.0", 0, 5, 4096, TREES | {"branching": 5}, 794),
        ("vwm_feature", "standard-g1.0", 0, 5, 4096, TREES | {"branching": 10}, 1505),
    ],
)
def test_jobs_of_planes_were_seen_to_use_less_than_is_estimated(
    study, task, population, number, networks, trials, network, used
):
    """In MB: the numbers of docs/cluster.md."""
    recipe = study.settings.recipe(task, population, number)
    own = recipe.network.model_dump()
    if "architecture" in network:
        del own["hidden"]
    recipe = Recipe(network=own | network, training=recipe.training)
    assert 1.2 * used < training_memory(recipe, networks, number, trials, study._sampled(task)) < 2 * used


@pytest.mark.parametrize(("terms", "used"), [(True, 8103), (False, 5435)])
def test_jobs_on_a_large_bank_were_seen_to_use_less_than_is_estimated(study, terms, used):
    """The standards of `vwm_feature`, with a term that keeps their activity and without."""
    recipe = study.settings.recipe("vwm_feature", "insd" if terms else "standard-g1.0", 0)
    assert bool(recipe.terms) == terms
    estimated = training_memory(recipe, 5, 0, 196_608, study._sampled("vwm_feature"))
    assert 1.2 * used < estimated < 2 * used


def test_jobs_of_rate_networks_were_seen_to_use_less_than_is_estimated():
    sample = FlipFlop().sample("train", 16, 0)
    for trials, used in ((2048, 1091), (20_000, 5574)):
        assert 1.2 * used < training_memory(Recipe(), 10, 0, trials, sample) < 2 * used


def test_a_round_requests_the_larger_of_both_estimates(study):
    def asked(population, number, attempt=1):
        round_of = {"task": "vwm_swap", "population": population, "seeds": "0-4", "round": str(number)}
        return study.round_memory(round_of, attempt)

    # The maker says 1,480; nothing is deflated against standards, which keep no activity.
    assert asked("insd", 0) > asked("standard-g1.0", 0) > 1480
    assert asked("insd", 1) > asked("insd", 0) and asked("insd", 1, attempt=2) == 2 * asked("insd", 1)
    few = Grid(study.settings.model_copy(update={"trials": Trials(train=2048)}))
    assert few.round_memory({"task": "vwm_swap", "population": "insd", "seeds": "0-4", "round": "0"}, 1) == 1480
