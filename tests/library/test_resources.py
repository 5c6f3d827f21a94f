"""The table of memory and run time, on benchmark files as Snakemake writes them."""

import math

import pytest

from insd.resources import BenchmarkError, main, resources

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
