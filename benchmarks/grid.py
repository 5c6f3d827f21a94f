"""Where the time of a finished grid went, how many cores help, and how long Snakemake plans.

    python benchmarks/grid.py results

Read from Snakemake's benchmark files, beside short runs of the workflow that measure what a job costs besides its work.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
import yaml
from common import PAGE, Bound, table, verdicts, write_section

ROOT = Path(__file__).resolve().parent.parent
SNAKEMAKE = (sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"))
PAPER = ROOT / "config" / "config.yaml"
PICTURE = PAGE.with_suffix("") / "grid.svg"
TRAINING = ("train_round",)
MOST_OF_ALL = 60
"""Most minutes of the whole grid on two cores that do nothing else."""
MOST_MB, MOST_SHARE = 1000, 0.10
"""Bounds on the memory of a deflated round, and the share of start-up and scheduling."""
MOST_TRAINING = {"standards": 150, "insd": 150}
"""Most core-minutes of training of the standard populations, and of all rounds of the chains."""
MOST_MINUTES = {"similarity": 2, "dsa": 15, "fixed_points": 25, "decoding": 10}
"""Most minutes of an analysis of all tasks on two cores."""
MOST_OF_A_GRID = {"seconds": 240, "MB": 2000}
"""Most time and memory of the performance of one task's networks in all regimes and at all points of its grid."""
MOST_FIGURES = 3
"""Most minutes of all figures on two cores."""
ITERATIONS = 1000
"""Of each of the short rounds that are run on one and on two cores."""


def main() -> None:
    """Write the sections on the grid, its scaling and its planning."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, help="folder of a finished grid")
    folder = parser.parse_args().results / "benchmarks"
    files = sorted(folder.rglob("*.tsv"))
    if not files:
        parser.error(f"{folder} holds no benchmark files; run the workflow first")
    jobs = read_jobs(folder, files)
    if missing := {*TRAINING, *MOST_MINUTES, "performance"} - set(jobs["rule"]):
        parser.error(f"{folder} is of a grid that is not finished: it lacks {', '.join(sorted(missing))}")
    profile(jobs)
    cores(jobs)
    planning()


def read_jobs(folder: Path, files: list[Path]) -> pd.DataFrame:
    """One row per job: its rule, path, seconds by the clock, when it ended and memory in MB.

    A job has one thread, so that its seconds are those of a core. Snakemake's `cpu_time` is sampled: it lacks up to
    the last half minute.
    """
    rows = []
    for file in files:
        parts = file.relative_to(folder).with_suffix("").parts
        # "NA" stands for what a very short job left no time to measure.
        measured = pd.read_csv(file, sep="\t").iloc[0][["s", "max_rss"]].astype(float)
        rows.append({"rule": parts[0], "path": parts[1:], "ended": file.stat().st_mtime, **measured})
    return pd.DataFrame(rows)


def profile(jobs: pd.DataFrame) -> None:
    """Core-minutes of each rule, what of them is start-up, and the time of the whole grid."""
    imports = _cpu_seconds([sys.executable, "-c", "import insd.activity, insd.settings.config"])
    scheduling = _scheduling()
    rules = jobs.groupby("rule").agg(
        jobs=("s", "size"), minutes=("s", lambda seconds: seconds.sum() / 60), memory=("max_rss", "max")
    )
    rules = rules.sort_values("minutes", ascending=False)
    start_up, planned = (len(jobs) * seconds / 60 for seconds in (imports, scheduling))
    total = rules["minutes"].sum() + planned
    share = (start_up + planned) / total
    parts = [(rule, row["jobs"], row["minutes"], f"{row['memory']:.0f}") for rule, row in rules.iterrows()]
    parts.append(("in all of them, start of Python and imports", len(jobs), start_up, ""))
    parts.append(("Snakemake itself", len(jobs), planned, ""))
    rows: list[list[object]] = [
        [name, int(count), f"{minutes:.1f}", f"{100 * minutes / total:.0f} %", memory]
        for name, count, minutes, memory in parts
    ]
    _, alternatives = _rounds(jobs)
    largest = alternatives["max_rss"].max()
    whole = (jobs["ended"].max() - (jobs["ended"] - jobs["s"]).min()) / 60
    trained = _on_two_cores(jobs.loc[jobs["rule"].isin(TRAINING), "s"]) / 60
    bounds = [
        Bound(
            f"the grid, from its first job to its last, at most {MOST_OF_ALL} min",
            f"{whole:.0f} min",
            whole <= MOST_OF_ALL,
            f"its training alone takes {trained:.0f} min on two cores",
        ),
        Bound("start-up and scheduling, below 10 %", f"{100 * share:.1f} %", share < MOST_SHARE, START_UP),
        Bound("memory of a deflated round, below 1 GB", f"{largest:.0f} MB", largest < MOST_MB),
        *_of_training(jobs),
        *_of_analyses(jobs),
    ]
    _picture(rules, start_up, planned)
    write_section(
        "The grid",
        f"Minutes of a core in {len(jobs)} jobs, by the clock, {total:.0f} in all, and the largest memory of a job of "
        "each rule. A round that was resumed from a checkpoint counts with its last part alone.\n\n"
        + table(["rule", "jobs", "core-minutes", "share", "MB at most"], rows)
        + "\n![Core-minutes by rule](benchmarks/grid.svg)\n\n"
        + verdicts(bounds)
        + "\nMinutes on two cores: of the longest jobs first, each on the core that is free, from the seconds that "
        "each took in the grid."
        f"\n\nA job starts Python and imports the library in {imports:.1f} s of a processor, and Snakemake takes "
        f"{scheduling:.1f} s for it (on rounds of {ITERATIONS} iterations).",
        ("snakemake", "torch"),
    )


START_UP = "jobs are too short for what their start costs; `seeds_per_job` makes them fewer and longer"
"""The reason why start-up would not be below its bound."""


def _rounds(jobs: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The jobs that trained, with their population, and those of them that were deflated."""
    rounds = jobs[jobs["rule"].isin(TRAINING)]
    rounds = rounds.assign(population=rounds["path"].map(lambda path: path[1]))
    return rounds, rounds[rounds["path"].map(lambda path: path[-1] != "round-0")]


def _of_training(jobs: pd.DataFrame) -> list[Bound]:
    """Core-minutes of the standard populations, and of the chains with their references."""
    rounds, _ = _rounds(jobs)
    minutes = rounds.groupby("population")["s"].sum() / 60
    standard = minutes.index.str.startswith("standard")
    found = {"standards": minutes[standard].sum(), "insd": minutes.get("insd", 0.0)}
    return [
        Bound(f"training of {name}, at most {most} core-minutes", f"{found[name]:.0f}", found[name] <= most)
        for name, most in MOST_TRAINING.items()
    ]


def _of_analyses(jobs: pd.DataFrame) -> list[Bound]:
    """Minutes of each analysis that has a bound, and of all figures, on two cores."""
    taken = {rule: _on_two_cores(jobs.loc[jobs["rule"] == rule, "s"]) / 60 for rule in MOST_MINUTES}
    figures = _on_two_cores(jobs.loc[jobs["rule"].str.startswith("figure_"), "s"]) / 60
    bounds = [
        Bound(f"{rule} of all tasks on two cores, below {most} min", f"{taken[rule]:.1f} min", taken[rule] < most)
        for rule, most in MOST_MINUTES.items()
    ]
    grids = jobs[jobs["rule"] == "performance"]
    seconds, memory = grids["s"].max(), grids["max_rss"].max()
    bounds.append(
        Bound(
            f"performance of one task, below {MOST_OF_A_GRID['seconds'] / 60:g} min and {MOST_OF_A_GRID['MB']:,} MB",
            f"{seconds / 60:.1f} min on one core, {memory:.0f} MB",
            seconds < MOST_OF_A_GRID["seconds"] and memory < MOST_OF_A_GRID["MB"],
        )
    )
    what = f"all figures on two cores, below {MOST_FIGURES} min"
    return [*bounds, Bound(what, f"{figures:.1f} min", figures < MOST_FIGURES if figures else None)]


def _on_two_cores(seconds: pd.Series) -> float:
    """Seconds until the last of some jobs ends: the longest first, each on the core that is free first."""
    free = [0.0, 0.0]
    for one in sorted(seconds, reverse=True):
        free[free.index(min(free))] += one
    return max(free)


def cores(jobs: pd.DataFrame) -> None:
    """The same rounds on one and on two cores, and what more cores can bring."""
    measured = {count: _timed_rounds(count) for count in (1, 2)}
    gain = measured[1] / measured[2]
    rounds, _ = _rounds(jobs)
    chains = rounds.groupby(rounds["path"].map(lambda path: path[:3]))["s"].sum() / 60
    last = jobs[~jobs["rule"].isin((*TRAINING, "sample_trials"))].groupby("rule")["s"].max() / 60
    work = jobs["s"].sum() / 60
    least = {count: max(work / count, chains.max() + last.max()) for count in (1, 2, 4, 8, 16, 64)}
    write_section(
        "More cores",
        f"Eight rounds of {ITERATIONS} iterations, trained by the workflow, take {measured[1]:.0f} s on one core and "
        f"{measured[2]:.0f} s on two, {gain:.2f} times as fast (this machine has {os.cpu_count()}).\n\nBeyond that, "
        "computed: jobs share nothing and use one thread each, so that time falls with cores until the longest chain "
        f"of rounds ({chains.max():.0f} min, {'/'.join(chains.idxmax())}) and the longest analysis after it "
        f"({last.max():.0f} min, {last.idxmax()}) are "
        "all that is left.\n\n"
        + table(
            ["cores", "minutes at least", "times as fast as one"],
            [[count, f"{minutes:.0f}", f"{work / minutes:.1f}"] for count, minutes in least.items()],
        ),
        ("snakemake", "torch"),
    )


PEAK = (
    "import resource, subprocess, sys, time; start = time.monotonic(); "
    "planned = subprocess.run(sys.argv[1:], check=True, capture_output=True, text=True).stdout; "
    "jobs = next(line.split()[1] for line in planned.splitlines() if line.startswith('total ')); "
    "print(jobs, time.monotonic() - start, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024)"
)
"""Runs a command that plans and prints the number of jobs, its seconds and its largest memory in MB."""


def planning() -> None:
    """Time and memory of a dry-run of grids of growing size."""
    rows: list[list[object]] = []
    for seeds, per_block in ((10, 64), (100, 64), (800, 1024)):
        populations = {f"standard-g{gain}": {"seeds": seeds} for gain in ("0.01", "0.5", "1.0", "1.5")}
        with tempfile.TemporaryDirectory() as folder:
            config = Path(folder) / "larger.yaml"
            larger = {"populations": populations, "analysis": {"networks_per_block": per_block}}
            config.write_text(yaml.safe_dump(larger))
            command = [*SNAKEMAKE, "--directory", folder, "-n", "--configfile", str(PAPER), str(config)]
            run = subprocess.run(
                [sys.executable, "-c", PEAK, *command], check=True, capture_output=True, text=True, cwd=ROOT
            )
        jobs, seconds, memory = map(float, run.stdout.split())
        cells = f"{jobs:.0f}", f"{seconds:.0f}", f"{1e3 * seconds / jobs:.0f}", f"{memory:.0f}"
        rows.append([12 * seeds, per_block, *cells])
    write_section(
        "Planning",
        "A dry-run of config.yaml with more standards. [Larger blocks](scale.md) mean fewer jobs of pairs.\n\n"
        + table(["standards", "networks in a block", "jobs", "s", "ms per job", "MB"], rows),
        ("snakemake",),
    )


@contextmanager
def _short_rounds(count: int) -> Iterator[tuple[Path, list[str]]]:
    """A folder with trials, and the command whose target `rounds` is eight short ones on them, on so many cores."""
    config = {
        "populations": {"standard-g1.0": {"seeds": 8}},
        "tasks": {"flip_flop": {}},
        "trials": {"train": 512, "evaluation": 128},
        "defaults": {"training": {"iterations": ITERATIONS, "restarts": 0, "patience": 10_000}},
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rounds.yaml"
        path.write_text(yaml.safe_dump(config))
        command = [*SNAKEMAKE, "--directory", folder, "--cores", str(count), "--configfile", str(path)]
        trials = [f"results/flip_flop/trials/{regime}.nc" for regime in ("train", "test")]
        subprocess.run([*command, "--", *trials], check=True, capture_output=True)
        yield Path(folder), command


def _timed_rounds(count: int) -> float:
    """Seconds of eight short rounds on so many cores."""
    with _short_rounds(count) as (_, command):
        start = time.monotonic()
        subprocess.run([*command, "--", "rounds"], check=True, capture_output=True)
        return time.monotonic() - start


def _scheduling() -> float:
    """Seconds of a processor that Snakemake itself spends on a job, planning left out: it looks at the memory of a job
    every half second at first, and every half minute later.
    """
    with _short_rounds(1) as (folder, command):
        planned = _cpu_seconds([*command, "-n", "--", "rounds"])
        whole = _cpu_seconds([*command, "--", "rounds"])
        files = list(folder.glob("results/benchmarks/train_round/**/*.tsv"))
        inside = sum(float(pd.read_csv(file, sep="\t")["s"].iloc[0]) for file in files)
        return max(whole - planned - inside, 0.0) / len(files)


def _cpu_seconds(command: list[str]) -> float:
    """Seconds of a processor that a command takes."""
    before = os.times()
    subprocess.run(command, check=True, capture_output=True, cwd=ROOT)
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


def _picture(rules: pd.DataFrame, start_up: float, planned: float) -> None:
    minutes = pd.concat([rules["minutes"], pd.Series({"start of Python, in all": start_up, "Snakemake": planned})])
    shown = minutes[minutes > 0.002 * minutes.sum()].iloc[::-1]
    figure, axes = plt.subplots(figsize=(6, 0.22 * len(shown) + 0.8), layout="constrained")
    axes.barh(shown.index, shown, color="0.5")
    axes.set_xlabel("core-minutes")
    axes.spines[["top", "right"]].set_visible(False)
    PICTURE.parent.mkdir(exist_ok=True)
    figure.savefig(PICTURE, metadata={"Date": None})


if __name__ == "__main__":
    main()
