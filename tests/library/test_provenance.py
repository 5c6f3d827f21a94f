"""Random streams by name, and fingerprints that change with what they stand for and with nothing else."""

import hashlib
import json
from functools import partial

import numpy as np
import pytest
import xarray as xr

from insd import provenance
from insd.plugins import module_of, names


def test_random_seeds_differ_by_every_part_of_the_name_and_fit_the_generators():
    names = [("t", "p", 0, 0), ("t", "p", 0, 1), ("t", "p", 1, 0), ("t", "q", 0, 0), ("s", "p", 0, 0)]
    seeds = {provenance.random_seed(*name) for name in names}
    assert len(seeds) == len(names)
    assert all(0 <= seed < 2**63 for seed in seeds)
    # Streams must stay what they are: other seeds would be other networks.
    assert provenance.random_seed("t", "p", 0, 0) == 7595227400447326007


def test_array_fingerprint_follows_the_values():
    dataset = xr.Dataset({"a": ("x", np.arange(3.0)), "b": ("x", np.zeros(3))})
    before = provenance.array_fingerprint(dataset, ["a"])
    assert provenance.array_fingerprint(dataset.assign(b=dataset["b"] + 1), ["a"]) == before
    assert provenance.array_fingerprint(dataset.assign(a=dataset["a"] + 1e-12), ["a"]) != before


@pytest.fixture
def library(tmp_path, monkeypatch):
    """A small library: top imports below, and below imports errors, which makes no numbers."""
    (tmp_path / "__init__.py").write_text("")
    (tmp_path / "top.py").write_text("from insd.below import f\n")
    (tmp_path / "below.py").write_text('"""Text."""\nfrom insd import errors\ndef f():\n    return 1\n')
    (tmp_path / "errors.py").write_text("A = 1\n")
    (tmp_path / "other.py").write_text("B = 1\n")
    (tmp_path / "below.c").write_text("int one = 1;\n")
    monkeypatch.setattr(provenance, "LIBRARY", tmp_path)

    def fingerprint():
        provenance.code_fingerprint.cache_clear()
        return provenance.code_fingerprint("insd.top")

    yield tmp_path, fingerprint
    provenance.code_fingerprint.cache_clear()


HEAD = "from insd import errors\ndef f():\n"


@pytest.mark.parametrize(
    "file, content, changes",
    [
        ("below.py", '"""Other text."""\nfrom insd import errors\n\ndef f():\n    return 1  # why\n', False),
        ("below.py", '"""Text."""\nfrom insd import errors\ndef f():\n    return 2\n', True),
        ("below.py", f"{HEAD}    log.info('one %d', 1)\n    return 1\n", False),
        ("below.py", f"{HEAD}    print('one %d', 1)\n    return 1\n", True),
        ("errors.py", "A = 2\n", False),
        ("other.py", "B = 2\n", False),
        ("top.py", "from insd.below import f\nC = 1\n", True),
        ("below.c", "int one = 2;\n", True),
    ],
)
def test_code_fingerprint_changes_with_numbers_only(library, file, content, changes):
    folder, fingerprint = library
    before = fingerprint()
    (folder / file).write_text(content)
    assert (fingerprint() != before) == changes


def test_code_has_one_fingerprint_under_all_versions_of_python():
    # Under 3.11. Later versions know more of a function, leave out empty lists, or end the format with an empty part.
    source = "class A:\n    def f(x, n):\n        return f'{x:.{n}f}', g()\n"
    assert hashlib.sha256(provenance._parsed(source, "insd").code.encode()).hexdigest()[:16] == "05c1f4c32b7d9b82"


def test_training_depends_on_its_modules_and_not_on_figures():
    modules = provenance._imported("insd.makers.train", set())
    assert {
        "insd.training",
        "insd.activity",
        "insd.rounding",
        "insd.networks.engine.bptt",
        "insd.networks.base",
        "insd.objectives.schedules",
        "insd.tasks.base",
    } <= modules
    found = {name for kind in ("task", "network", "term") for name in map(partial(module_of, kind), names(kind))}
    assert not modules & (found | {"insd.progress", "insd.datasets", "insd.settings.config", "insd.settings.recipe"})
    assert not any("figures" in name or "analysis" in name for name in modules)


def test_attributes_say_where_a_file_comes_from():
    attributes = provenance.attributes({"b": 1, "a": [2]}, "insd.tasks", seed="5")
    assert json.loads(attributes["settings"]) == {"a": [2], "b": 1}
    assert attributes["seed"] == "5"
    for package in ("python", "numpy", "torch", "snakemake", "insd", "xarray"):
        assert attributes[f"{package}_version"]
    assert attributes["git_commit"]
    assert len(attributes["code_fingerprint"]) == 16
