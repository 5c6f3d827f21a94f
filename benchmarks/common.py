"""What all benchmarks share: timing side by side, and the page that they write."""

import datetime
import importlib.metadata
import os
import platform
import re
import resource
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

PAGE = Path(__file__).resolve().parent.parent / "docs" / "benchmarks.md"
HEAD = """# Benchmarks

Written by `make benchmark`, section by section. Absolute times depend on the machine and on what else it does; ratios
are of medians of runs in turn, on the same arrays, with one thread. The floor is the matrix products alone, into memory
that is there.
"""

Result = TypeVar("Result")


def one_core() -> None:
    """Keep this process, and all threads of its libraries, on one core, where the system can."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def side_by_side(
    functions: Mapping[str, Callable[[], object]], repeats: int, calls: Mapping[str, int] | int = 1
) -> dict[str, float]:
    """Median time in s of one call of each function; in turn, after one call that does not count.

    `calls` is how many calls are timed together, which keeps the clock's grain out of short ones.
    """
    found: dict[str, list[float]] = {name: [] for name in functions}
    for repeat in range(repeats + 1):
        for name, function in functions.items():
            count = calls if isinstance(calls, int) else calls.get(name, 1)
            start = time.perf_counter()
            for _ in range(count):
                function()
            if repeat > 0:
                found[name].append((time.perf_counter() - start) / count)
    return {name: statistics.median(times) for name, times in found.items()}


def timed(function: Callable[[], Result]) -> tuple[float, Result]:
    """Seconds of one call, without one before it that does not count, and what it returned: for what takes long."""
    start = time.perf_counter()
    result = function()
    return time.perf_counter() - start, result


def forget_peak() -> None:
    """Reset the peak of memory, where Linux can: imports reach higher than most points."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak() -> float:
    """Largest memory in MB of this process since `forget_peak`, or since its start."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    found = [int(line.split()[1]) for line in lines if line.startswith("VmHWM")]
    return (found[0] if found else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) / 1024


@dataclass(frozen=True)
class Bound:
    """A bound, what was measured of it, and whether it is met; None where it could not be told."""

    what: str
    measured: str
    met: bool | None
    reason: str = ""
    """Why it is not met or cannot be told; shown only then."""


def verdicts(bounds: Sequence[Bound]) -> str:
    """A table of bounds, each met or not with the reason."""
    words = {True: "met", False: "not met", None: "not told"}
    rows = [
        [one.what, one.measured, words[one.met] + (f": {one.reason}" if one.reason and not one.met else "")]
        for one in bounds
    ]
    return table(["bound", "measured", ""], rows)


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines) + "\n"


NOTES = "<!-- notes -->"
"""What follows this line in a section is written by hand, and stays when the section is written again."""


def write_section(
    title: str, text: str, packages: Sequence[str] = ("torch", "numpy"), page: Path = PAGE, measured: bool = True
) -> None:
    """Put a section into the page in the place of the one with its title, or at its end; and print it.

    What was not measured here and now keeps the line that says where and when it was.
    """
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in packages)
    made = f"*{datetime.date.today().isoformat()}; {_processor()}; Python {platform.python_version()}, {versions}.*"
    old = page.read_text() if page.exists() else HEAD
    head, *sections = re.split(r"^(?=## )", old, flags=re.MULTILINE)
    kept = {part.splitlines()[0]: part.strip() + "\n" for part in sections}
    before = kept.get(f"## {title}", "")
    stamps = [line for line in before.splitlines() if line.startswith("*20")]
    section = f"## {title}\n\n{made if measured or not stamps else stamps[0]}\n\n{text.strip()}\n"
    print(section)
    _, mark, notes = before.partition(NOTES)
    kept[f"## {title}"] = section + (f"\n{mark}{notes}" if mark else "")
    page.write_text("\n".join([head.strip() + "\n", *kept.values()]))


def _processor() -> str:
    names = [line.split(":")[1].strip() for line in _cpuinfo() if line.startswith("model name")]
    return f"{names[0] if names else platform.machine()}, {os.cpu_count()} cores"


def _cpuinfo() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.exists() else []
