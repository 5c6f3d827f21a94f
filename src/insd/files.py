"""Files that appear whole or not at all."""

import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from insd.errors import InsdError


class WriteError(InsdError):
    """A file cannot be written; the message names it, the `reason` and the space that is left."""

    def __init__(self, path: Path, reason: Exception):
        self.reason = reason
        # HDF5 does not say that a disk is full. A folder that may not be made is not there.
        folder = next(folder for folder in path.absolute().parents if folder.exists())
        free = shutil.disk_usage(folder).free / 1e6
        super().__init__(
            f"{path}: could not be written ({reason}); its disk has {free:.1f} MB free: make room or check the "
            "permissions, and run again"
        )


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """A temporary path to write to; its file replaces `path` at the end, and is removed after an error.

    The file is synced to disk before it is renamed, so a power cut leaves either the old file or the new one.

    Raises WriteError where the system refuses to write it.
    """
    # Host and process: two runs that write the same file must not write into one another, also on two nodes.
    beside = path.with_name(f".{path.name}.{socket.gethostname()}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield beside
            with beside.open("rb") as written:
                os.fsync(written.fileno())
            os.replace(beside, path)
        finally:
            beside.unlink(missing_ok=True)
    except OSError as error:
        raise WriteError(path, error) from None


def write_text(path: str | Path, text: str) -> None:
    """Write a text file in UTF-8, whole."""
    with written_whole(Path(path)) as beside:
        beside.write_text(text, encoding="utf-8")
