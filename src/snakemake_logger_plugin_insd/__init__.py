"""`snakemake --logger insd`: what a person sees of a run, by `insd.display`. Snakemake finds this package by its name.

Dry-runs, warnings, errors and everything that follows an error are shown as without it, and Snakemake's own log file
is the same.
"""

import sys
from logging import WARNING, LogRecord
from typing import Any

from snakemake_interface_logger_plugins.base import LogHandlerBase
from snakemake_interface_logger_plugins.common import LogEvent

from insd.display import Display, RunningJob

TOLD_BY_THE_DISPLAY = {
    LogEvent.WORKFLOW_STARTED,
    LogEvent.RESOURCES_INFO,
    LogEvent.RUN_INFO,
    LogEvent.JOB_INFO,
    LogEvent.JOB_STARTED,
    LogEvent.SHELLCMD,
    LogEvent.JOB_FINISHED,
    LogEvent.PROGRESS,
}
KEPT = ("Nothing to be done", "Complete log")
"""Beginnings of Snakemake's remarks that are shown while nothing fails."""


class LogHandler(LogHandlerBase):
    """Shows the events of a run; Snakemake adds its own filter and format for what is passed on."""

    writes_to_file = False
    has_filter = False
    has_formatter = False
    needs_rulegraph = False

    def __post_init__(self) -> None:
        self.display = Display(sys.stdout if self.common_settings.stdout else sys.stderr)
        self.failed = False

    @property
    def writes_to_stream(self) -> bool:
        """Not in dry-runs, whose jobs Snakemake lists as always."""
        return not self.common_settings.dryrun

    def emit(self, record: LogRecord) -> None:
        """Show a record."""
        try:
            self._show(record)
        except Exception:
            self.handleError(record)

    def close(self) -> None:
        """Leave the terminal as it was."""
        self.display.close()
        super().close()

    def _show(self, record: Any) -> None:
        event = getattr(record, "event", None)
        if self.common_settings.dryrun:
            return
        if event == LogEvent.RUN_INFO:
            self.display.begin(record.stats)
        elif event == LogEvent.JOB_INFO:
            job = RunningJob(record.rule_name, dict(record.wildcards), list(record.log), list(record.output))
            self.display.job_started(record.jobid, job)
        elif event == LogEvent.JOB_FINISHED:
            self.display.job_finished(record.job_id)
        elif event == LogEvent.JOB_ERROR:
            self.failed = True
            self.display.job_failed(record.jobid)
            self._pass_on(record)
        elif event not in TOLD_BY_THE_DISPLAY and self._matters(record, event):
            self._pass_on(record)

    def _matters(self, record: LogRecord, event: LogEvent | None) -> bool:
        self.failed |= record.levelno > WARNING
        remark = event is None and record.levelno < WARNING
        return self.failed or not remark or record.getMessage().startswith(KEPT)

    def _pass_on(self, record: LogRecord) -> None:
        if text := self.format(record):
            self.display.say(text)
