"""What surrounds the work of a job."""

import logging
import sys

import pytest

from insd.errors import InsdError
from insd.jobs import job


@pytest.mark.skipif(sys.platform != "linux", reason="needs a device that is always full")
def test_a_log_that_cannot_be_written_neither_stops_nor_drowns_the_job(capsys):
    done = []
    with job("/dev/full"):
        logging.getLogger("insd.toy").info("begins")
        done.append(True)
    assert done and capsys.readouterr().err == ""
    with pytest.raises(SystemExit), job("/dev/full"):
        raise InsdError("no network")
    assert capsys.readouterr().err == "error: no network\n"
