"""What every job of the workflow does around its one call: a log, and errors in one message."""

import ctypes
import logging
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from insd.errors import InsdError


def reuse_freed_memory() -> None:
    """Let this process keep the memory that it frees, where the C library is glibc.

    By default blocks of megabytes, such as the activity of a batch, go back to the system when freed, and are taken
    and cleared again, page by page, in every iteration: a quarter of the time of training on a CPU.
    """
    _keep_freed_blocks_below(1 << 30)


def return_freed_memory() -> None:
    """Let this process return large blocks to the system when it frees them, after `reuse_freed_memory`.

    Blocks of many sizes that are kept fit each other badly: the search for fixed points of 60 networks grew to 5 GB,
    where 0.8 GB are enough.
    """
    _keep_freed_blocks_below(32 << 20)


def return_unused_memory() -> None:
    """Return to the system what is free now, once, after `reuse_freed_memory`.

    What is left between blocks of many sizes that are kept adds up: the perturbations of 135 networks on trials of 140
    steps grew to 20 GB, where 0.4 GB are enough.
    """
    allocator = ctypes.CDLL(None)
    if hasattr(allocator, "malloc_trim"):
        allocator.malloc_trim(0)


def _keep_freed_blocks_below(size: int) -> None:
    """Set the two thresholds of glibc's allocator, in bytes; 32 MB is as far as it raises them by itself."""
    allocator = ctypes.CDLL(None)
    if hasattr(allocator, "mallopt"):
        trim_threshold, mmap_threshold = -1, -3
        allocator.mallopt(trim_threshold, size)
        allocator.mallopt(mmap_threshold, size)


class _Log(logging.FileHandler):
    """A log that is left short where its disk is full: the work goes on, and no line of it is told as an error."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the name that Python gives
        pass

    def close(self) -> None:
        # What is still to be written is written as the file is closed.
        with suppress(OSError):
            super().close()


@contextmanager
def job(log: str | Path) -> Iterator[None]:
    """Send log lines to a file; end with status 1 and one message if the work fails with a known error, or for
    lack of memory.

    Unknown errors keep their traceback, in the log and on the terminal.
    """
    handler = _Log(log, mode="w")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logger = logging.getLogger("insd")
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    try:
        yield
    except Exception as error:
        if isinstance(error, InsdError):
            message = str(error)
        elif _is_want_of_memory(error):
            message = (
                f"not enough memory ({error}): use a machine with more, raise mem_mb of the rule on a cluster, or "
                "lower trials.train, trials.evaluation, seeds_per_job or analysis.networks_per_block"
            )
        else:
            logger.error(traceback.format_exc())
            raise
        logger.error(message)
        print(f"error: {message}", file=sys.stderr)
        raise SystemExit(1) from None
    finally:
        logger.removeHandler(handler)
        handler.close()


def _is_want_of_memory(error: Exception) -> bool:
    # On a CPU, torch has no class for it. The GPU's is matched by name: half of all jobs do not import torch.
    on_cpu = isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
    return on_cpu or isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
