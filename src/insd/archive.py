"""Finished results in one file, with checksums, from which figures can be made again without training."""

import hashlib
import io
import logging
import os
import tarfile
from collections.abc import Sequence
from pathlib import Path

from insd.files import written_whole

logger = logging.getLogger("insd.archive")

CHECKSUMS = "results/SHA256SUMS"
"""The file of checksums in the archive: run `sha256sum --check` on it in the folder of unpacking."""


def pack(paths: Sequence[str | Path], target: str | Path) -> None:
    """Write files into an uncompressed tar file, the checksums first; it appears whole or not at all.

    NetCDF files are already compressed. Paths are kept as given, relative to the folder to unpack in, and
    so are exact modification times, by which Snakemake knows that nothing needs to run again. Owners are
    not kept.
    """
    files = sorted({str(path) for path in paths})
    sums = "".join(f"{_checksum(path)}  {path}\n" for path in files).encode()
    about = tarfile.TarInfo(CHECKSUMS)
    about.size, about.mtime = len(sums), max((os.stat(path).st_mtime for path in files), default=0)
    with written_whole(Path(target)) as beside, tarfile.open(beside, "w", format=tarfile.PAX_FORMAT) as archive:
        archive.addfile(about, io.BytesIO(sums))
        for number, path in enumerate(files, start=1):
            archive.add(path, filter=_without_owner)
            if number % 100 == 0 or number == len(files):
                logger.info("%d of %d files, %.0f MB", number, len(files), archive.offset / 1e6)


def _checksum(path: str) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _without_owner(about: tarfile.TarInfo) -> tarfile.TarInfo:
    about.uid = about.gid = 0
    about.uname = about.gname = ""
    return about
