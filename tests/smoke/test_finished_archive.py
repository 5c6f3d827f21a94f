"""The archive of a finished grid, unpacked into a clean checkout."""

import hashlib
import tarfile

import pytest
from conftest import copy_checkout, job_counts, snakemake

SMOKE = ("--configfile", "config/smoke.yaml")
FROM_ARCHIVE = ("--rerun-triggers", "mtime")


@pytest.fixture(scope="module")
def restored(finished, tmp_path_factory):
    result = snakemake(finished, "archive", "--cores", "1", *SMOKE)
    assert result.returncode == 0, result.stdout[-3000:]
    folder = copy_checkout(tmp_path_factory.mktemp("restored"))
    with tarfile.open(finished / "results/archive.tar") as archive:
        archive.extractall(folder, filter="data")
    (finished / "results/archive.tar").unlink()
    return folder


def test_checksums(restored):
    lines = (restored / "results/SHA256SUMS").read_text().splitlines()
    assert len(lines) == sum(path.is_file() for path in restored.glob("results/**/*")) - 1
    for line in lines:
        checksum, path = line.split("  ")
        assert hashlib.sha256((restored / path).read_bytes()).hexdigest() == checksum, path


def test_only_figures_are_made_again(restored, finished):
    assert not list(restored.glob("results/*/standard-*/*/*/activity.nc"))
    dry = snakemake(restored, "figures", "-n", *SMOKE, *FROM_ARCHIVE)
    counts = job_counts(dry.stdout)
    assert counts["total"] == len(list(finished.glob("results/figures/*.svg"))) + 1
    assert {rule for rule in counts if not rule.startswith("figure")} == {"total"}
    result = snakemake(restored, "figures", "--cores", "2", *SMOKE, *FROM_ARCHIVE)
    assert result.returncode == 0, result.stdout[-3000:]
    ran = {path.parent.name for path in restored.glob("results/logs/*/*.log")}
    assert ran == {rule for rule in counts if rule.startswith("figure_")}
    made, before = ({path.name: path for path in folder.glob("results/figures/*")} for folder in (restored, finished))
    assert made.keys() == before.keys()
    # The vector formats name clipped areas by addresses in memory.
    pictures = [name for name in made if name.endswith(".png")]
    assert len(pictures) == counts["total"] - 1
    for name in pictures:
        assert made[name].read_bytes() == before[name].read_bytes(), name
