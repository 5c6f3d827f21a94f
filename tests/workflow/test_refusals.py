"""Bad configs and targets: refused before any job starts, with one message."""

import pytest
import yaml
from conftest import snakemake


def refused(checkout, tmp_path, overlay, *targets):
    file = tmp_path / "overlay.yaml"
    file.write_text(yaml.safe_dump(overlay))
    result = snakemake(checkout, *targets, "-n", "--configfile", str(file))
    assert result.returncode != 0
    assert "Traceback" not in result.stdout
    return result.stdout


@pytest.mark.parametrize(
    "overlay, message",
    [
        (
            {"populatons": {}},
            "populatons: unknown key; known here: tasks, trials, seeds_per_job, device, analysis, defaults, ",
        ),
        ({"populations": {"insd": {"rounds": 0}}}, "populations.insd.rounds = 0: input should be greater than or eq"),
        ({"tasks": {"flipflop": {}}}, "tasks.flipflop: there is no such task; choose from: context_integration, flip"),
        ({"defaults": {"training": {"iterations": "many"}}}, "defaults.training.iterations = 'many': input should be"),
    ],
)
def test_bad_configs(checkout, tmp_path, overlay, message):
    output = refused(checkout, tmp_path, overlay)
    assert message in output
    assert output.count("the config cannot be used:") == 1


@pytest.mark.parametrize(
    "target, message",
    [
        (
            "results/flip_flop/standard/seeds-0/round-0/network.nc",
            "population 'standard' is not in the config; its populations are: standard-g0.01, standard-g0.5",
        ),
        ("results/flipflop/trials/train.nc", "task 'flipflop' is not in the config; its tasks are: context_integ"),
    ],
)
def test_targets_of_names_that_do_not_exist(checkout, target, message):
    result = snakemake(checkout, target, "-n")
    assert result.returncode != 0
    assert message in result.stdout
