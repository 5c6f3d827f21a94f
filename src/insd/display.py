"""What a person sees of a run: a bar for the grid with the time left, and a line for each job that runs.

The lines stay at the foot of a terminal and are written again every second. Where there is no terminal, each finished
job is one plain line. Only the standard library is imported, since Snakemake loads this at every start.
"""

import os
import re
import shutil
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from io import TextIOBase
from pathlib import Path
from typing import TextIO

EVERY_SECONDS = 1.0
"""Between two looks at the running jobs."""
A_SHORT_JOB = 5.0
"""Seconds of a job of a rule that has not finished one: most of it is imports."""
TAIL = 4096
"""Bytes at the end of a log in which the latest state of training is."""
CLEAR = "\x1b[J"
"""Clears a terminal from the cursor to its end."""


@dataclass(frozen=True)
class RunningJob:
    """A job as its line shows it."""

    rule: str
    wildcards: Mapping[str, str]
    logs: Sequence[str]
    outputs: Sequence[str]
    started: float = field(default_factory=time.monotonic)

    @property
    def name(self) -> str:
        """Task, population, seeds and round of a job that makes networks; rule and wildcards of any other."""
        if "round" not in self.wildcards:
            return " ".join([self.rule, *self.wildcards.values()])
        seeds = self.wildcards["seeds"]
        what = f"seeds {seeds}" if "-" in seeds else f"seed {seeds}"
        return f"{self.wildcards['task']} {self.wildcards['population']} {what} round {self.wildcards['round']}"

    @property
    def seconds(self) -> float:
        """Since it started."""
        return time.monotonic() - self.started

    def state(self) -> str:
        """How far training is, as the job's log last said it: iteration, loss and terms; empty for any other job."""
        found = re.findall(r"iteration (\d+/\d+): task (.*), [\d.]+ it/s", self._tail())
        return re.sub(r", (score [\d.]+|multiplier \[[^]]*\])", "", " ".join(found[-1])) if found else ""

    def seconds_left(self) -> float | None:
        """What is left of training at most, as the job's log last said it."""
        found = re.findall(r"(\d+) s left at most", self._tail())
        return float(found[-1]) if found else None

    def errors(self) -> str:
        """The end of its log, from its first error on."""
        _, error, text = self._tail().partition(" ERROR ")
        return f"error: {text.strip()}" if error else ""

    def _tail(self) -> str:
        try:
            with Path(self.logs[0]).open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - TAIL))
                return file.read().decode(errors="replace")
        except (OSError, IndexError):
            return ""


class Display:
    """What a run shows, on a stream that is a terminal or not."""

    def __init__(self, stream: TextIO | TextIOBase):
        self.stream = stream
        self.live = stream.isatty() and os.environ.get("TERM") != "dumb"
        self.started = time.monotonic()
        self.waiting: Counter[str] = Counter()
        """Jobs of each rule that have not started."""
        self.running: dict[int, RunningJob] = {}
        self.took: defaultdict[str, list[float]] = defaultdict(list)
        """Seconds of the finished jobs of each rule."""
        self.done = self.total = self.cores = self.lines = 0
        self.first_figure = ""
        self.lock = threading.RLock()
        self.ended = threading.Event()
        self.refresher: threading.Thread | None = None

    def begin(self, counts: Mapping[str, int]) -> None:
        """The run has so many jobs of each rule."""
        self.waiting = Counter({rule: count for rule, count in counts.items() if rule != "total"})
        self.total = self.waiting.total()
        self.started = time.monotonic()
        if self.live:
            self.refresher = threading.Thread(target=self._refresh, daemon=True)
            self.refresher.start()
        self.say(f"{self.total} jobs")

    def job_started(self, number: int, job: RunningJob) -> None:
        """A job runs."""
        with self.lock:
            self.waiting[job.rule] -= 1
            self.running[number] = job
            self.cores = max(self.cores, len(self.running))

    def job_finished(self, number: int) -> None:
        """A job is done."""
        with self.lock:
            if not (job := self.running.pop(number, None)):
                return
            self.took[job.rule].append(job.seconds)
            self.done += 1
            if not self.live:
                state = f": {text}" if (text := job.state()) else ""
                count = f"{time.strftime('%H:%M:%S')} {self.done} of {self.total}"
                self.say(f"{count}: {job.name}, {duration(job.seconds)}{state}")
            figures = [path for path in job.outputs if path.startswith("results/figures/") and path.endswith(".png")]
            if figures and not self.first_figure:
                self.first_figure = self._place(figures[0])
                self.say(f"the first figure: {self.first_figure}")
            if self.done == self.total:
                self.say(f"{self.done} jobs done in {duration(time.monotonic() - self.started)}")
                if self.first_figure:
                    self.say(f"figures: {Path(self.first_figure).parent}")

    def job_failed(self, number: int) -> None:
        """A job ended without its outputs. Its message was written by itself; a terminal's foot may have hidden it."""
        with self.lock:
            job = self.running.pop(number, None)
            if job:
                self.waiting[job.rule] += 1
            if job and self.live and (text := job.errors()):
                self.say(text)

    def say(self, text: str) -> None:
        """Write lines that stay."""
        with self.lock:
            self._write(f"{text}\n")

    def close(self) -> None:
        """Take the lines at the foot away."""
        self.ended.set()
        if self.refresher:
            self.refresher.join()
        with self.lock:
            self.running.clear()
            self._write("", foot=False)

    def seconds_left(self) -> float | None:
        """An estimate from the jobs that are done and those that run; None before there is one."""
        others = [seconds for rule, times in self.took.items() if not _is_training(rule) for seconds in times]
        short = _mean(others) or A_SHORT_JOB
        expected = defaultdict(list, {rule: list(times) for rule, times in self.took.items()})
        running = []
        for job in self.running.values():
            left = job.seconds_left()
            if left is not None:
                expected[job.rule].append(job.seconds + left)
            running.append((job, left))
        if _is_training_missing(self.waiting, expected):
            return None
        work = sum(count * (_mean(expected[rule]) or short) for rule, count in self.waiting.items())
        work += sum(
            max(0.0, (_mean(expected[job.rule]) or short) - job.seconds) if left is None else left
            for job, left in running
        )
        return work / max(1, self.cores)

    def _refresh(self) -> None:
        while not self.ended.wait(EVERY_SECONDS):
            with self.lock:
                self._write("")

    def _write(self, text: str, foot: bool = True) -> None:
        """Write text above the foot, and the foot again."""
        if not self.live:
            self.stream.write(text)
        else:
            back = f"\x1b[{self.lines}F" if self.lines else ""
            lines = self._foot() if foot and self.total and not self.ended.is_set() else []
            self.lines = len(lines)
            self.stream.write(f"{back}{CLEAR}{text}" + "".join(f"{line}\n" for line in lines))
        self.stream.flush()

    def _foot(self) -> list[str]:
        size = shutil.get_terminal_size()
        jobs = list(self.running.values())
        width = max((len(job.name) for job in jobs), default=0)
        lines = [
            f"{job.name:{width}} {clock(job.seconds):>6}  {job.state()}".rstrip()[: size.columns - 1]
            for job in jobs[: size.lines - 3]
        ]
        left = self.seconds_left()
        so_far = f" {self.done} of {self.total} jobs, {duration(time.monotonic() - self.started)}"
        text = so_far + (f", about {duration(left)} left" if left is not None else "")
        room = max(10, min(40, size.columns - len(text) - 1))
        full = room * self.done // max(1, self.total)
        return [*lines, ("█" * full + "░" * (room - full) + text)[: size.columns - 1]]

    def _place(self, path: str) -> str:
        """A path as it is typed where the command was."""
        path = os.path.relpath(Path(path).resolve(), os.environ.get("PWD", "."))
        return str(Path(path).resolve()) if path.startswith("..") else path


def duration(seconds: float) -> str:
    """A duration as people read it, such as "2 min 5 s"."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    return f"{whole // 60} min {whole % 60} s" if whole < 3600 else f"{whole // 3600} h {whole % 3600 // 60} min"


def clock(seconds: float) -> str:
    """A duration as a clock shows it, such as "2:05"."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def _is_training(rule: str) -> bool:
    return rule.endswith("_round")


def _is_training_missing(waiting: Mapping[str, int], expected: Mapping[str, list[float]]) -> bool:
    """Whether rounds are to be trained of which nobody knows yet how long they take."""
    return any(count and _is_training(rule) and not expected.get(rule) for rule, count in waiting.items())


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0
