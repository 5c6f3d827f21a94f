"""Which figures a grid has, and the files that each reads."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from insd import plugins
from insd.errors import InsdError
from insd.figures.base import OF_ROUNDS, Figure, FigureError, planned
from insd.grid import Grid, RoundBlock
from insd.members import Block
from insd.settings.base import SettingsError


def figures(grid: Grid) -> dict[str, str]:
    """The name by which each figure of a grid is found (`insd.figures.base.planned`), by the name of its rule and
    files: those of this library, then the user's own.

    Raises SettingsError if one of the user's own cannot be used.
    """
    found = {name: name for name in plugins.names("figure")}
    for path in grid.settings.figures.own:
        name = path.partition(":")[0].rpartition(".")[2]
        try:
            _must_be_written(grid, planned(path))
        except InsdError as error:
            raise SettingsError(f"the config cannot be used:\n  - figures.own: {error}") from None
        if name in found or not re.fullmatch("[a-z][a-z0-9_]*", name):
            raise SettingsError(
                f"the config cannot be used:\n  - figures.own: {path}: the name of the module is that of the figure: "
                f"choose one of a-z, 0-9 and _ that is not one of {', '.join(found)}"
            )
        found[name] = path
    return found


def _must_be_written(grid: Grid, figure: Figure) -> None:
    """Raise FigureError if a figure reads the file of an analysis that the grid does not have."""
    written = [file for analysis in grid.analyses().values() for file in analysis.writes]
    for key in figure.reads:
        folder, _, name = key.partition("/")
        if folder == "analysis" and name not in written:
            raise FigureError(
                f"figure {figure.title!r}: reads {key!r}, which no analysis of the config writes; name yours under "
                f"`analysis`, or choose from: {', '.join(written)}"
            )


def figure_stem(name: str, figure: Figure) -> str:
    """The names of a figure's files without their format, with the wildcard of its task."""
    return f"results/figures/{name}_{{task}}" if figure.per == "task" else f"results/figures/{name}"


def figure_files(grid: Grid) -> list[str]:
    """All figures of a grid in all formats."""
    plans = {name: planned(path) for name, path in figures(grid).items()}
    return [
        f"{stem}.{suffix}"
        for name, plan in plans.items()
        for stem in dict.fromkeys(figure_stem(name, plan).format(task=task) for task in _tasks_having(grid, plan))
        for suffix in ("svg", "pdf", "png")
    ]


def _tasks_having(grid: Grid, figure: Figure) -> list[str]:
    """The tasks of a grid that have all analyses that a figure per task reads, and networks of its architectures."""
    having = grid.file_tasks()
    read = [key.partition("/")[2] for key in figure.reads if key.startswith("analysis/") and figure.per == "task"]
    return [
        task
        for task in grid.settings.tasks
        if all(task in having[name] for name in read)
        and (not figure.architectures or grid.architectures(task).intersection(figure.architectures))
    ]


def figure_tasks(grid: Grid, figure: Figure, task: str | None) -> list[str]:
    """The tasks of a figure: that of a figure per task, or all."""
    return [task] if figure.per == "task" and task is not None else list(grid.settings.tasks)


def figure_inputs(grid: Grid, figure: Figure, task: str | None) -> dict[str, list[str]]:
    """The files that a figure reads, by name in `Figure.reads`; `task` is that of a figure per task."""
    return {key: _figure_files(grid, figure, key, figure_tasks(grid, figure, task)) for key in figure.reads}


def _figure_files(grid: Grid, figure: Figure, key: str, tasks: Sequence[str]) -> list[str]:
    folder, _, name = key.partition("/")
    if folder == "tables":
        return [f"results/tables/{name}.csv"]
    if folder in OF_ROUNDS:
        return [path for task in tasks for path in grid.files(f"{name}.nc", task, _blocks(grid, figure, folder, task))]
    return [f"results/{task}/{folder}/{name}.nc" for task in tasks]


def files_of_figures(grid: Grid) -> list[str]:
    """All files that any figure of a grid reads."""
    plans = [planned(path) for path in figures(grid).values()]
    read = [figure_inputs(grid, plan, task).values() for plan in plans for task in _tasks_having(grid, plan)]
    return sorted({path for files in read for paths in files for path in paths})


def figure_blocks(grid: Grid, figure: Figure, task: str | None) -> dict[str, list[RoundBlock]]:
    """Which rounds the files of a figure per task hold, by `rounds` and `shown`; nothing for one that reads neither."""
    folders = dict.fromkeys(key.partition("/")[0] for key in figure.reads)
    return {folder: _blocks(grid, figure, folder, str(task)) for folder in folders if folder in OF_ROUNDS}


def _blocks(grid: Grid, figure: Figure, folder: str, task: str) -> list[RoundBlock]:
    """The rounds that have all files that the figure reads: networks that were not trained here have no history."""
    found = grid.shown_blocks(task) if folder == "shown" else grid.blocks(task)
    for key in figure.reads:
        if key.startswith(f"{folder}/"):
            having = grid.blocks(task, writes=key.partition("/")[2])
            found = [block for block in found if block in having]
    return found


def figure_settings(grid: Grid, figure: Figure) -> dict[str, str | float | None]:
    """The settings that a figure uses."""
    known: dict[str, str | float | None] = {
        "chain": grid.settings.shown_chain(),
        "confidence": grid.settings.analysis.comparisons.confidence,
        "deflated_r2": grid.settings.analysis.deflated_r2,
    }
    return {name: known[name] for name in figure.uses}


# --- As Snakemake asks for them, with the task of a figure per task in its wildcards


def inputs_of(grid: Grid, figure: Figure) -> Callable[[Any], dict[str, list[str]]]:
    """The files that a figure reads, by name."""

    def inputs(wildcards: Any) -> dict[str, list[str]]:
        return figure_inputs(grid, figure, wildcards.get("task"))

    return inputs


def tasks_of(grid: Grid, figure: Figure) -> Callable[[Any], dict[str, dict[str, Any]]]:
    """The parameters of the tasks of a figure, by name."""

    def tasks(wildcards: Any) -> dict[str, dict[str, Any]]:
        names = figure_tasks(grid, figure, wildcards.get("task"))
        return {task: grid.settings.task_parameters(task) for task in names}

    return tasks


def blocks_of(grid: Grid, figure: Figure) -> Callable[[Any], dict[str, list[Block]]]:
    """The rounds that a figure reads files of, each with what it must have been made with."""

    def blocks(wildcards: Any) -> dict[str, list[Block]]:
        task = wildcards.get("task")
        return {folder: grid.made_with(task, found) for folder, found in figure_blocks(grid, figure, task).items()}

    return blocks


def caption_of(name: str, path: str, figure: Figure) -> str | Path | None:
    """The caption of a figure in the report: in this repository or, of a figure of the user's own, where it says."""
    if path == name:
        return f"../report/figure_{name}.rst"
    return figure.caption and Path(figure.caption).resolve()
