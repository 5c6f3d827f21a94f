"""The jobs and files of a grid, from its settings."""

import re
from collections.abc import Sequence

from insd import plugins
from insd.errors import InsdError
from insd.figures.base import OF_ROUNDS, Figure, planned
from insd.settings.base import SettingsError
from insd.settings.config import Settings

ROUND = "results/{task}/{population}/seeds-{seeds}/round-{round}"
"""The folder of a round."""
RoundBlock = tuple[str, str, int]
"""Population, seeds and round of a job."""


def round_blocks(settings: Settings, task: str) -> list[RoundBlock]:
    """Population, seeds and round of every training job of a task, in the order of the grid."""
    return [
        (population, seeds, round_number)
        for population in settings.population_names(task)
        for seeds in settings.seed_blocks(population)
        for round_number in settings.trained_rounds(population)
    ]


def shown_blocks(settings: Settings, task: str) -> list[RoundBlock]:
    """Population, seeds and round of the jobs whose networks figures show side by side: those of the chain that the
    config names and of its references or, without one, all.
    """
    chain = settings.shown_chain()
    if chain not in settings.population_names(task):
        return round_blocks(settings, task)
    reference = settings.reference(chain)
    return [
        block
        for block in round_blocks(settings, task)
        if block[0] == chain or (block[0] == reference and block[2] == 0)
    ]


def round_files(settings: Settings, name: str, task: str) -> list[str]:
    """One file of every round of a task, in the order of `round_blocks`."""
    return _files(name, task, round_blocks(settings, task))


def _files(name: str, task: str, blocks: Sequence[RoundBlock]) -> list[str]:
    return [
        f"{ROUND}/{name}".format(task=task, population=population, seeds=seeds, round=round_number)
        for population, seeds, round_number in blocks
    ]


# --- Figures


def figures(settings: Settings) -> dict[str, str]:
    """The name by which each figure of a grid is found (`insd.figures.base.planned`), by the name of its rule and
    files: those of this library, then the user's own.

    Raises SettingsError if one of the user's own cannot be used.
    """
    found = {name: name for name in plugins.names("figure")}
    for path in settings.figures.own:
        name = path.partition(":")[0].rpartition(".")[2]
        try:
            planned(path)
        except InsdError as error:
            raise SettingsError(f"the config cannot be used:\n  - figures.own: {error}") from None
        if name in found or not re.fullmatch("[a-z][a-z0-9_]*", name):
            raise SettingsError(
                f"the config cannot be used:\n  - figures.own: {path}: the name of the module is that of the figure: "
                f"choose one of a-z, 0-9 and _ that is not one of {', '.join(found)}"
            )
        found[name] = path
    return found


def figure_stem(name: str, figure: Figure) -> str:
    """The names of a figure's files without their format, with the wildcard of its task."""
    return f"results/figures/{name}_{{task}}" if figure.per == "task" else f"results/figures/{name}"


def figure_files(settings: Settings) -> list[str]:
    """All figures of a grid in all formats."""
    return [
        f"{stem}.{suffix}"
        for name, path in figures(settings).items()
        for stem in dict.fromkeys(figure_stem(name, planned(path)).format(task=task) for task in settings.tasks)
        for suffix in ("svg", "pdf", "png")
    ]


def figure_tasks(settings: Settings, figure: Figure, task: str | None) -> list[str]:
    """The tasks of a figure: that of a figure per task, or all."""
    return [task] if figure.per == "task" and task is not None else list(settings.tasks)


def figure_inputs(settings: Settings, figure: Figure, task: str | None) -> dict[str, list[str]]:
    """The files that a figure reads, by name in `Figure.reads`; `task` is that of a figure per task."""
    return {key: _figure_files(settings, key, figure_tasks(settings, figure, task)) for key in figure.reads}


def _figure_files(settings: Settings, key: str, tasks: Sequence[str]) -> list[str]:
    folder, _, name = key.partition("/")
    if folder == "tables":
        return [f"results/tables/{name}.csv"]
    if folder in OF_ROUNDS:
        return [path for task in tasks for path in _files(f"{name}.nc", task, _blocks(settings, folder, task))]
    return [f"results/{task}/{folder}/{name}.nc" for task in tasks]


def files_of_figures(settings: Settings) -> list[str]:
    """All files that any figure of a grid reads."""
    plans = [planned(path) for path in figures(settings).values()]
    read = [figure_inputs(settings, plan, task).values() for plan in plans for task in settings.tasks]
    return sorted({path for files in read for paths in files for path in paths})


def figure_blocks(settings: Settings, figure: Figure, task: str | None) -> dict[str, list[RoundBlock]]:
    """Which rounds the files of a figure per task hold, by `rounds` and `shown`; nothing for one that reads neither."""
    folders = dict.fromkeys(key.partition("/")[0] for key in figure.reads)
    return {folder: _blocks(settings, folder, str(task)) for folder in folders if folder in OF_ROUNDS}


def _blocks(settings: Settings, folder: str, task: str) -> list[RoundBlock]:
    return (shown_blocks if folder == "shown" else round_blocks)(settings, task)


def figure_settings(settings: Settings, figure: Figure) -> dict[str, str | float | None]:
    """The settings that a figure uses."""
    known: dict[str, str | float | None] = {
        "chain": settings.shown_chain(),
        "confidence": settings.analysis.comparisons.confidence,
    }
    return {name: known[name] for name in figure.uses}
