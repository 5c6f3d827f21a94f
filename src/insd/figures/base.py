"""What a figure is to the workflow: a title, what it reads, and how it is drawn.

A figure is one file of this folder, or of the user's own, with one constant `FIGURE`; the workflow has one rule for
each. Nothing here imports matplotlib: `planned` reads a figure's description without importing its file.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, Literal, get_args

import pandas as pd
import xarray as xr

from insd import plugins
from insd.datasets import read, read_by_task, read_table
from insd.errors import InsdError
from insd.settings.tasks import make_task
from insd.tasks.base import Task

Per = Literal["task", "grid"]
"""What there is one figure of."""
Use = Literal["chain", "confidence", "deflated_r2"]
"""The settings that figures may use."""
FOLDERS = ("tables", "trials", "analysis", "rounds", "shown")
"""What files are named by in `Figure.reads`, before the slash."""
OF_ROUNDS = ("rounds", "shown")
"""Those of which a task has one file per round and block of seeds."""


class FigureError(InsdError):
    """A figure is described wrongly, or reads what it does not name; the message says which and what to do."""


@dataclass(frozen=True)
class Figure:
    """One figure. All but `draw` are literals in its file, where the workflow reads them without importing it."""

    title: str
    """Its name in the report and in the table of figures."""
    per: Per
    """Whether there is one per task or one of all tasks."""
    reads: tuple[str, ...]
    """Its files: `tables/NAME`, `trials/REGIME` and `analysis/NAME`; for a figure per task also `rounds/NAME`, a file
    of every round of the task (`history`), and `shown/NAME`, one of each round whose networks are shown side by side
    (`network`, `activity`)."""
    draw: Callable[["Drawing"], Any] = field(repr=False)
    """Makes the figure of matplotlib."""
    description: str
    """One sentence on what it shows, without a full stop."""
    uses: tuple[Use, ...] = ()
    """Settings that it uses: the deflated population that is shown, the level of confidence of intervals, and the
    largest r2 of a network that is unlike earlier ones."""
    architectures: tuple[str, ...] = ()
    """Of a figure per task: it is made for tasks for which the config has networks of one of these architectures; for
    all without it."""
    caption: str | None = None
    """Of a figure of the user's own: the file of its caption in the report, in reStructuredText."""
    memory_mb: int = 1500
    """Memory of the job in MB."""
    minutes: int = 10
    """Time limit of the job in minutes."""

    def __post_init__(self) -> None:
        for key in self.reads:
            folder, _, name = key.partition("/")
            if folder not in FOLDERS or not name:
                choices = ", ".join(f"{known}/NAME" for known in FOLDERS)
                raise FigureError(f"figure {self.title!r}: cannot read {key!r}; choose from: {choices}")
            if folder in OF_ROUNDS and self.per == "grid":
                raise FigureError(f"figure {self.title!r}: only a figure per task can read {key!r}")
        if self.architectures and self.per == "grid":
            raise FigureError(f"figure {self.title!r}: only a figure per task can be of some architectures")


def planned(path: str) -> Figure:
    """A figure as the workflow plans it, by its name or `module:CONSTANT`; its file is imported when it is drawn.

    Raises PluginError or FigureError if there is none, or if it is described wrongly.
    """
    about: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in plugins.described("figure", path).items()
    }
    known = {entry.name: entry.default is MISSING for entry in fields(Figure) if entry.name != "draw"}
    if wrong := sorted(set(about) - set(known)):
        raise FigureError(f"{path}: a figure has no {', '.join(wrong)}; choose from: draw, {', '.join(known)}")
    if missing := [name for name, needed in known.items() if needed and name not in about]:
        raise FigureError(f"{path}: a figure needs {', '.join(missing)}")
    for name, given, choices in (
        ("per", (about["per"],), get_args(Per)),
        ("uses", about.get("uses", ()), get_args(Use)),
    ):
        if wrong := sorted(set(map(str, given)) - set(choices)):
            raise FigureError(f"{path}: {name}: choose from {', '.join(choices)}, not {', '.join(wrong)}")
    return Figure(**about, draw=lambda drawing: plugins.find("figure", path).draw(drawing))


@dataclass(frozen=True)
class Drawing:
    """What a figure may read: the files and settings that it names, each file when it is needed."""

    figure: Figure
    files: Mapping[str, Sequence[str]]
    """By name in `Figure.reads`: one file per task in the order of `parameters`, per round, or one table."""
    parameters: Mapping[str, Mapping[str, Any]]
    """The parameters of its task, or of all tasks of the grid, by name (`Settings.task_parameters`)."""
    settings: Mapping[str, Any]
    """Those in `Figure.uses`."""
    blocks: Mapping[str, Sequence[tuple[str, str, int, str, str]]]
    """Which round each file of `rounds` and of `shown` holds (`insd.members.Block`)."""

    @property
    def tasks(self) -> dict[str, Task]:
        """Its task, or all tasks of the grid, by name."""
        return {name: make_task(name, parameters) for name, parameters in self.parameters.items()}

    @property
    def task(self) -> Task:
        """The task of a figure per task."""
        (task,) = self.tasks.values()
        return task

    @property
    def chain(self) -> str | None:
        """The deflated population that figures show, if any."""
        return self._setting("chain")

    @property
    def confidence(self) -> float:
        """The level of confidence of intervals, between 0 and 1."""
        return self._setting("confidence")

    @property
    def deflated_r2(self) -> float:
        """The largest null-space r2 of a network that is unlike earlier ones."""
        return self._setting("deflated_r2")

    def table(self, name: str) -> pd.DataFrame:
        """A table, of a figure per task the rows of its task."""
        table = read_table(self.paths(f"tables/{name}")[0])
        return table[table["task"].isin(self.parameters)] if self.figure.per == "task" else table

    def datasets(self, key: str) -> dict[str, xr.Dataset]:
        """The files of some trials or of an analysis, by task; an analysis has a place for each network of the table
        `networks`, if the figure reads that (`insd.cohorts.every_network`).
        """
        folder, _, name = key.partition("/")
        if folder == "analysis" and "tables/networks" in self.figure.reads:
            return read_by_task(self.parameters, self.paths(key), name, self.table("networks"))
        contract = "trials" if folder == "trials" else name
        return {task: read(path, contract) for task, path in zip(self.parameters, self.paths(key), strict=True)}

    def dataset(self, key: str) -> xr.Dataset:
        """The file of some trials or of an analysis of a figure per task."""
        (dataset,) = self.datasets(key).values()
        return dataset

    def histories(self) -> dict[tuple[str, int], list[xr.Dataset]]:
        """The courses of training of all rounds of the task: by population and round, one per block of seeds."""
        found: dict[tuple[str, int], list[xr.Dataset]] = {}
        for path, block in zip(self.paths("rounds/history"), self.blocks["rounds"], strict=True):
            population, _, round_number, _, _ = block
            found.setdefault((population, round_number), []).append(read(path, "history"))
        return found

    def paths(self, key: str) -> Sequence[str]:
        """The files that are named so in `Figure.reads`."""
        if key not in self.figure.reads:
            raise FigureError(f"figure {self.figure.title!r}: reads {key!r}; name it in `reads`")
        return self.files[key]

    def _setting(self, name: str) -> Any:
        if name not in self.figure.uses:
            raise FigureError(f"figure {self.figure.title!r}: uses {name!r}; name it in `uses`")
        return self.settings[name]
