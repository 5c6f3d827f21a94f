import hashlib
import os
import tarfile

import pytest

from insd.archive import CHECKSUMS, pack


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    os.mkdir("results")
    for name, text in (("results/b.nc", "b"), ("results/a.nc", "a")):
        with open(name, "w") as file:
            file.write(text)
        os.utime(name, ns=(1, 1_700_000_000_123_456_789))
    return ["results/b.nc", "results/a.nc"]


def test_what_is_packed_comes_back_with_its_checksum_and_time(files, tmp_path):
    pack([*files, files[0]], "results/archive.tar")
    with tarfile.open("results/archive.tar") as archive:
        assert archive.getnames() == [CHECKSUMS, "results/a.nc", "results/b.nc"]
        archive.extractall(tmp_path / "restored", filter="data")
    for line in (tmp_path / "restored" / CHECKSUMS).read_text().splitlines():
        checksum, name = line.split("  ")
        restored = tmp_path / "restored" / name
        assert hashlib.sha256(restored.read_bytes()).hexdigest() == checksum
        assert restored.stat().st_mtime == os.stat(name).st_mtime


def test_a_missing_file_leaves_no_archive(files):
    with pytest.raises(FileNotFoundError, match=r"results/c\.nc"):
        pack([*files, "results/c.nc"], "results/archive.tar")
    assert sorted(os.listdir("results")) == ["a.nc", "b.nc"]
