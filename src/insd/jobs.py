"""What every job of the workflow does around its one call: a log, and errors in one message."""

import logging
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from insd.errors import InsdError


@contextmanager
def job(log: str | Path) -> Iterator[None]:
    """Send log lines to a file; end with status 1 and one message if the work fails for a reason that we know.

    Errors that we do not know keep their traceback, in the log and on the terminal.
    """
    handler = logging.FileHandler(log, mode="w")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logger = logging.getLogger("insd")
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    try:
        yield
    except InsdError as error:
        logger.error(error)
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(1) from None
    except Exception:
        logger.error(traceback.format_exc())
        raise
    finally:
        logger.removeHandler(handler)
        handler.close()
