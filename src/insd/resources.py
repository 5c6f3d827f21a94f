"""Memory and run time of each rule, from the benchmark files that Snakemake writes with the results.

python -m insd.resources results/benchmarks
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from insd.errors import InsdError


class BenchmarkError(InsdError):
    """No benchmark files were found; the message says where they should be."""


def resources(folder: Path) -> pd.DataFrame:
    """One row per rule: its jobs, their time in s, their memory in MB and the share of a processor that they used.

    A rule's benchmark files are all files below the folder of its name. A job that was resumed from a checkpoint counts
    with its last part alone.

    Raises BenchmarkError if there are none.
    """
    rows = []
    for path in sorted(folder.rglob("*.tsv")):
        # Snakemake writes "NA" for values that a very short job leaves no time to measure.
        job = pd.read_csv(path, sep="\t").iloc[0]
        rows.append({"rule": path.relative_to(folder).parts[0], **job[["s", "max_rss", "mean_load"]]})
    if not rows:
        raise BenchmarkError(f"{folder}: holds no benchmark files (*.tsv); run the workflow first")
    jobs = pd.DataFrame(rows).groupby("rule")
    return pd.DataFrame(
        {
            "jobs": jobs.size(),
            "s_median": jobs["s"].median(),
            "s_max": jobs["s"].max(),
            "hours_total": jobs["s"].sum() / 3600,
            "mb_median": jobs["max_rss"].median(),
            "mb_max": jobs["max_rss"].max(),
            "cpu_percent_median": jobs["mean_load"].median(),
        }
    )


def main(arguments: Sequence[str]) -> None:
    """Print the table of the folder that the argument names."""
    try:
        (folder,) = map(Path, arguments)
        table = resources(folder)
    except ValueError:
        sys.exit("usage: python -m insd.resources FOLDER")
    except BenchmarkError as error:
        sys.exit(f"error: {error}")
    print(table.to_string(float_format="%.0f", formatters={"hours_total": "{:.2f}".format}))


if __name__ == "__main__":
    main(sys.argv[1:])
