"""The state of a long computation, kept next to its outputs, from which an interrupted one resumes."""

import logging
import time
import zipfile
from pathlib import Path
from typing import Any

import torch

from insd.files import WriteError, written_whole

log = logging.getLogger(__name__)


class Checkpoint:
    """One file with the state of one computation, replaced every `EVERY_SECONDS`.

    A state is made of tensors, numbers, text, lists and dictionaries alone, and is loaded without running any code.
    `made_from` is a digest of everything that the result depends on: a file with a different one is ignored.
    """

    EVERY_SECONDS = 120.0

    def __init__(self, path: Path, made_from: str):
        self.path = path
        self.made_from = made_from
        self.last = time.monotonic()

    def due(self) -> bool:
        """Whether the last state was saved long enough ago."""
        return time.monotonic() - self.last >= self.EVERY_SECONDS

    def save(self, state: dict[str, Any]) -> None:
        """Keep this state instead of the last one.

        If it cannot be written, for example on a full disk, the log has a warning and the computation continues.
        """
        self.last = time.monotonic()
        try:
            self.write(state)
        except (WriteError, RuntimeError) as error:
            why = error.reason if isinstance(error, WriteError) else error
            log.warning("%s: the checkpoint could not be written (%s); the job continues without it", self.path, why)

    def write(self, state: dict[str, Any]) -> None:
        """Write this state; WriteError or RuntimeError if that cannot be done."""
        with written_whole(self.path) as beside:
            torch.save({"made_from": self.made_from, "state": state}, beside)

    def load(self) -> dict[str, Any] | None:
        """The last saved state; None, with a line in the log, if it cannot be used."""
        if not self.path.exists():
            return None
        try:
            # PyTorch reads numbers without a look at their checksums.
            with zipfile.ZipFile(self.path) as parts:
                if damaged := parts.testzip():
                    raise zipfile.BadZipFile(f"{damaged} does not have its checksum")
            # One of a GPU is read where there is none, too, to be refused for what it was made with.
            where = None if torch.cuda.is_available() else "cpu"
            content = torch.load(self.path, map_location=where, weights_only=True)
        except Exception as error:  # arbitrary bytes may raise anything
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            log.warning("%s: ignored, for it is no checkpoint that can be loaded safely (%s)", self.path, reason)
            return None
        if not isinstance(content, dict) or content.get("made_from") != self.made_from:
            log.warning("%s: ignored, for it was made with other settings, trials, code or torch", self.path)
            return None
        return content["state"]
