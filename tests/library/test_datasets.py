"""Files that keep their contract, and files that are refused."""

import ast
import os
import pickle
import re
import socket
import subprocess
import sys

import netCDF4
import numpy as np
import pytest
import xarray as xr
from conftest import ROOT
from matplotlib.figure import Figure

from insd.datasets import DatasetError, read, read_table, write
from insd.figures.theme import new_figure, save
from insd.files import WriteError, write_text, written_whole
from insd.rounding import significant, with_significant


def performance():
    return xr.Dataset(
        {
            "loss": (("network", "regime"), np.ones((2, 3))),
            "score": (("network", "regime"), np.zeros((2, 3))),
            "grid_loss": (("network", "noise", "duration"), np.ones((2, 1, 1))),
            "grid_score": (("network", "noise", "duration"), np.zeros((2, 1, 1))),
            "loss_blocks": (("network", "regime", "block"), np.ones((2, 3, 4))),
            "score_blocks": (("network", "regime", "block"), np.zeros((2, 3, 4))),
            "grid_loss_blocks": (("network", "noise", "duration", "block"), np.ones((2, 1, 1, 4))),
            "grid_score_blocks": (("network", "noise", "duration", "block"), np.zeros((2, 1, 1, 4))),
        },
        coords={"network": ["a", "b"], "regime": ["test", "noisy", "long"]},
        attrs={"settings": "{}"},
    )


def test_what_is_written_is_read(tmp_path):
    write(performance(), tmp_path / "new/file.nc", "performance")
    assert read(tmp_path / "new/file.nc", "performance").identical(performance())
    assert list(read(tmp_path / "new/file.nc", "performance", ["loss"])) == ["loss"]
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["file.nc"]


@pytest.mark.parametrize("scale", [1e-15, 1e-4, 1.0, 1e15])
def test_activity_keeps_its_significant_digits_at_any_scale_and_is_smaller(tmp_path, scale):
    rates = (scale * np.tanh(np.random.default_rng(0).standard_normal((1, 50, 40, 30)))).astype(np.float32)
    activity = xr.Dataset(
        {
            "rates": (("seed", "trial", "time", "unit"), rates),
            "outputs": (("seed", "trial", "time", "output"), rates[..., :2]),
            "null_activity": (("seed", "bank_trial", "bank_time", "component"), rates[..., :5]),
            **{name: ("seed", [1.0 / 3]) for name in ("test_loss", "score", "solved")},
        },
        attrs={"bank_fingerprint": "b", "test_fingerprint": "t"},
    )
    rounded = with_significant(activity)
    write(rounded, tmp_path / "file.nc", "activity")
    stored = read(tmp_path / "file.nc", "activity")
    assert stored.identical(rounded)
    for name in ("rates", "outputs", "null_activity"):
        exact = activity[name].values
        assert stored[name].dtype == np.float32
        assert 0 < (np.abs(stored[name].values - exact) / np.abs(exact)).max() <= 2**-14
    # A mean of many numbers is not shifted by it.
    assert float(stored["rates"].sum()) == pytest.approx(float(activity["rates"].sum()), rel=1e-4)
    assert stored["score"].item() == 1.0 / 3
    assert (tmp_path / "file.nc").stat().st_size < 0.7 * activity.nbytes


def test_rounding_is_to_the_nearest_with_ties_to_even():
    step = 2.0**-13
    given = 1 + step * np.array([0.0, 1.0, 0.4, 0.6, 0.5, 1.5])
    expected = 1 + step * np.array([0.0, 1.0, 0.0, 1.0, 0.0, 2.0])
    for sign in (1, -1):
        np.testing.assert_array_equal(significant((sign * given).astype(np.float32)), sign * expected)
    broken = np.array([np.nan, np.inf, -np.inf, 0.0, np.finfo(np.float32).tiny], dtype=np.float32)
    np.testing.assert_array_equal(significant(broken), broken)


def test_a_writer_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "file.nc"
    write(performance(), path, "performance")
    before = path.read_bytes()

    def full_disk(self, target, **_):
        target.write_bytes(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr(xr.Dataset, "to_netcdf", full_disk)
    with pytest.raises(WriteError, match=r"file.nc: could not be written \(No space left on device\); its disk has "):
        write(performance() * 2, path, "performance")
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("content", [b"", b"\n", b"task,seed\nflip_flop,0\nflip_", b"\x89HDF\r\n\x1a\n"])
def test_a_table_that_is_not_whole_is_refused_in_one_line(tmp_path, content):
    path = tmp_path / "networks.csv"
    path.write_bytes(b"task,seed\n03,0\n")
    assert read_table(path)["task"].tolist() == ["03"]
    path.write_bytes(content)
    with pytest.raises(DatasetError, match=r"networks.csv: truncated, empty or not a table; delete the file and run"):
        read_table(path)


def test_texts_and_figures_appear_whole_too(tmp_path, monkeypatch):
    """Also where two nodes of a cluster, on which processes have the same numbers, write the same file."""
    page, figure = tmp_path / "page.html", tmp_path / "figure.svg"
    for value in (1, 2):
        write_text(page, f"µ = {value}")
        drawn = new_figure(20.0, 20.0)
        drawn.text(0, 0, "a")
        save(drawn, [figure, figure.with_suffix(".pdf")])
    before = figure.read_bytes()
    assert page.read_bytes() == "µ = 2".encode()
    assert before.startswith(b"<?xml") and figure.with_suffix(".pdf").read_bytes().startswith(b"%PDF")

    def full_disk(self, target, **_):
        target.write_bytes(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr(Figure, "savefig", full_disk)
    with pytest.raises(
        WriteError, match=r"figure.svg: could not be written \(No space left on device\); its disk has "
    ):
        save(new_figure(20.0, 20.0), [figure])
    with pytest.raises(UnicodeEncodeError):
        write_text(page, "half \udc80")
    assert figure.read_bytes() == before and page.read_bytes() == "µ = 2".encode()
    assert len(list(tmp_path.iterdir())) == 3
    # A folder that cannot be made.
    with pytest.raises(WriteError, match=r"page.html/a/b.md: could not be written \(.*Not a directory"):
        write_text(page / "a" / "b.md", "text")

    with monkeypatch.context() as patch, written_whole(page) as here:
        patch.setattr(socket, "gethostname", lambda: "another-node")
        with written_whole(page) as there:
            assert here != there
            there.write_bytes(b"there")
            here.write_bytes(b"here")
        assert page.read_bytes() == b"there"
    assert page.read_bytes() == b"here"


def test_scripts_and_library_write_nothing_in_place():
    """All that writes a file is in `files.py`, or writes to the path that it gives."""
    for folder in ("src", "workflow/scripts"):
        for path in (ROOT / folder).rglob("*.py"):
            for line in path.read_text().splitlines():
                writes = re.search(r"(\w+)\.write_(text|bytes)\(|\.(savefig|to_netcdf|to_csv)\((\w+)[,)]", line)
                target = writes and (writes[1] or writes[4])
                assert target in (None, "beside"), f"{path}: {line}"


@pytest.mark.parametrize("content", [b"", b"not a NetCDF file", None])
def test_truncated_empty_and_foreign_files_are_refused_by_name(tmp_path, content):
    path = tmp_path / "file.nc"
    write(performance(), path, "performance")
    path.write_bytes(path.read_bytes()[:3000] if content is None else content)
    with pytest.raises(DatasetError, match=r"file.nc: truncated, empty or no NetCDF file .*; delete the file and run"):
        read(path, "performance")


def test_a_file_that_is_locked_is_not_called_broken(tmp_path):
    """HDF5's words are the same for both, and a user would delete a good file."""
    path = tmp_path / "file.nc"
    write(performance(), path, "performance")
    code = f"import netCDF4; file = netCDF4.Dataset({str(path)!r}, 'a'); print('open', flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout.readline() == "open\n"
        with pytest.raises(
            DatasetError, match=r"file\.nc: is locked: a different process .*HDF5_USE_FILE_LOCKING"
        ) as told:
            read(path, "performance")
        assert "delete" not in str(told.value)
        holder.communicate("\n")
    assert read(path, "performance").sizes


def test_a_file_that_may_not_be_read_is_not_called_broken(tmp_path, monkeypatch):
    write(performance(), tmp_path / "file.nc", "performance")

    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(xr, "open_dataset", refuse)
    with pytest.raises(DatasetError, match=r"file\.nc: cannot be read now \(Permission denied\); check its"):
        read(tmp_path / "file.nc", "performance")


def test_whatever_fails_in_a_file_is_one_message(tmp_path):
    """xarray raises of many kinds where attributes that it decodes by are nonsense."""
    path = tmp_path / "file.nc"
    spoiled = {"scale_factor": "two", "add_offset": "one", "units": "days since"}
    for name, value in spoiled.items():
        write(performance(), path, "performance")
        with netCDF4.Dataset(path, "a") as file:
            file["loss"].setncattr(name, value)
        with pytest.raises(DatasetError, match=r"file.nc: truncated, empty or no NetCDF file .*; delete the file and"):
            read(path, "performance")


def test_want_of_memory_is_not_blamed_on_the_file(tmp_path, monkeypatch):
    write(performance(), tmp_path / "file.nc", "performance")

    def no_memory(*_, **__):
        raise MemoryError("Unable to allocate 9 TiB")

    monkeypatch.setattr(xr, "open_dataset", no_memory)
    with pytest.raises(MemoryError):
        read(tmp_path / "file.nc", "performance")


class Hostile:
    """Runs a command where it is unpickled."""

    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        return (os.system, (self.command,))


@pytest.mark.parametrize("contract", ["network", "activity", "trials"])
def test_a_hostile_file_is_refused_and_runs_nothing(tmp_path, contract):
    path, proof = tmp_path / "file.nc", tmp_path / "proof"
    for content in (pickle.dumps(Hostile(f"touch {proof}")), b"CDF\x01" + pickle.dumps(Hostile(f"touch {proof}"))):
        path.write_bytes(content)
        with pytest.raises(DatasetError, match=r"file.nc: truncated, empty or no NetCDF file"):
            read(path, contract)
        assert not proof.exists()


def test_nothing_in_the_library_or_the_workflow_unpickles():
    sources = [path.read_text() for folder in ("src", "workflow") for path in (ROOT / folder).rglob("*.py")]
    assert (
        0
        < sum(text.count("torch.load(") for text in sources)
        == sum(text.count("weights_only=True)") for text in sources)
    )
    assert (
        0
        < sum(text.count("np.load(") for text in sources)
        == sum(text.count("allow_pickle=False)") for text in sources)
    )
    for text in sources:
        names = {node.id for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Name)}
        assert not names & {"pickle", "dill", "joblib", "marshal", "shelve", "eval", "exec"}
        assert "allow_pickle=True" not in text


def test_missing_files_are_refused_by_name(tmp_path):
    with pytest.raises(DatasetError, match=r"none.nc: there is no such file; run the job that makes it"):
        read(tmp_path / "none.nc", "performance")


@pytest.mark.parametrize(
    "spoil, message",
    [
        (lambda d: d.drop_vars("score"), "lacks the variable 'score' of a performance file, which holds: loss, score"),
        (lambda d: d.transpose(), r"'loss' has dimensions \(regime, network\), not \(network, regime\)"),
        (
            lambda d: d.where(d["network"] == "a"),
            "'loss' holds values that are NaN, first at network b, regime test",
        ),
        (lambda d: d.astype(str), "'loss' holds values of type .* and not numbers"),
        (lambda d: d.astype("datetime64[ns]"), "'loss' holds values of type datetime64.* and not numbers"),
    ],
)
def test_broken_contracts_are_refused_on_both_sides(tmp_path, spoil, message):
    with pytest.raises(DatasetError, match=rf"file.nc: {message}"):
        write(spoil(performance()), tmp_path / "file.nc", "performance")
    spoil(performance()).to_netcdf(tmp_path / "file.nc")
    with pytest.raises(DatasetError, match=rf"file.nc: {message}"):
        read(tmp_path / "file.nc", "performance")


def test_missing_attributes_are_refused(tmp_path):
    trials = xr.Dataset(
        {
            name: (("trial", "time", end), np.zeros((1, 1, 1)))
            for name, end in (("inputs", "input"), ("targets", "output"), ("mask", "output"))
        },
        attrs={"dt": 0.02},
    )
    with pytest.raises(DatasetError, match="lacks the attribute 'fingerprint' of a trials file"):
        write(trials, tmp_path / "trials.nc", "trials")
