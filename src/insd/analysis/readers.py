"""What can be read from the weights of networks, and from their responses to probes, of networks of other chains."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import xarray as xr
from pydantic import Field, ValidationError

from insd import plugins
from insd.analysis.base import Analysis, AnalysisSettings, Job
from insd.cohorts import UNTRAINED
from insd.datasets import Contract
from insd.networks.settings.rate import RateSettings
from insd.plugins import PluginError
from insd.readers.settings.base import Fitting, ReaderSettings
from insd.settings.messages import lines

if TYPE_CHECKING:
    from insd.settings import config

CONTRACT = Contract(
    {
        "score": ("question", "reader"),
        "interval": ("question", "reader", "bound"),
        "part_score": ("question", "reader", "part"),
        "draws": ("question", "reader", "resample"),
        **dict.fromkeys(("chance", "networks", "chains", "classes", "without_answer"), ("question",)),
    },
    # Questions that cannot be asked.
    may_be_nan=frozenset({"score", "interval", "part_score", "draws"}),
    text=frozenset({"classes", "without_answer"}),
)
"""What its file holds."""


class ReadersSettings(AnalysisSettings):
    """Readers of networks; made only where the config has this section, which may be `{}`."""

    readers: Annotated[dict[str, dict[str, Any]], Field(min_length=1)] = {
        "norms": {},
        "spectrum": {},
        "raw_weights": {},
        "equivariant": {},
        "graph": {},
        "probing": {},
    }
    """The readers by the names that results have for them, each with its settings. `reader` is the name of its file, or
    `module:Class`, where that is another."""
    fitting: Fitting = Fitting()
    """How they are trained and scored."""

    def files(self) -> dict[str, str]:
        """The names by which readers are found, by the names of results."""
        return {name: str(given.get("reader", name)) for name, given in self.readers.items()}

    def made(self) -> dict[str, tuple[str, ReaderSettings]]:
        """The readers by the names of results: the name by which each is found, and its settings."""
        found = {}
        for name, file in self.files().items():
            settings: type[ReaderSettings] = plugins.settings_of("reader", file)
            found[name] = (file, settings.model_validate(self.given(name)))
        return found

    def given(self, name: str) -> dict[str, Any]:
        """The settings of a reader."""
        return {key: value for key, value in self.readers[name].items() if key != "reader"}


def applies(settings: "config.Settings", task: str) -> bool:
    """Where the config has its section."""
    return settings.has_analysis("readers")


def more(settings: "config.Settings", task: str) -> dict[str, Any]:
    """The references of populations, which say what is one chain, and the confidence of intervals."""
    references = {name: settings.reference(name) for name in settings.population_names(task)}
    return {"references": references, "confidence": settings.analysis.comparisons.confidence}


def modules(own: ReadersSettings) -> list[str]:
    """The modules of the readers."""
    return [plugins.module_of("reader", file) for file in own.files().values()]


def problems(own: ReadersSettings, settings: "config.Settings") -> Iterable[str]:
    """Readers that are not found or whose settings cannot be used, and rate networks that cannot be read, where the
    analysis is made.
    """
    if not settings.has_analysis("readers"):
        return
    for name, file in own.files().items():
        yield from _refused(f"analysis.readers.readers.{name}", file, own.given(name))
    for task in settings.tasks:
        yield from _unreadable(own, settings, task)


def _unreadable(own: ReadersSettings, settings: "config.Settings", task: str) -> Iterable[str]:
    """What is wrong with the rate networks of a task by their settings; what is in files is seen when it is read."""
    instead = "name the populations to read (analysis.readers.populations)"
    first: dict[int, str] = {}
    for population in settings.network_populations(task):
        rounds = settings.trained_rounds(population)
        if "network" not in settings.maker(population).sections or population not in (own.populations or [population]):
            continue
        network = settings.recipe(task, population, rounds[0]).network
        if not isinstance(network, RateSettings) or settings.role(task, population, rounds[0]) == UNTRAINED:
            continue
        if network.nonlinearity != "tanh":
            yield (
                f"populations.{population}.network.nonlinearity = {network.nonlinearity!r}: readers read rate networks "
                f"of tanh: {instead}"
            )
        first.setdefault(network.units, population)
    if len(first) > 1:
        found = " and ".join(f"{units} ({first[units]})" for units in sorted(first))
        yield f"analysis.readers: networks of the task {task} have {found} units; readers read one size: {instead}"


def _refused(path: str, file: str, given: Mapping[str, Any]) -> Iterable[str]:
    """What is wrong with a reader and its settings, at a path in the config."""
    try:
        found: type[ReaderSettings] = plugins.settings_of("reader", file)
    except PluginError as error:
        yield f"{path}: {error}"
        return
    known = ", ".join(["reader", *found.model_fields])
    try:
        found.model_validate(given)
    except ValidationError as error:
        yield from lines(error, lambda key: f"{path}: ", lambda place: known)


def run(job: Job) -> Mapping[str, xr.Dataset]:
    """`insd.evaluation.readers.compare` of all solved networks."""
    from insd.evaluation.readers import Known, compare

    own: ReadersSettings = job.settings
    known = Known(job.analyses["performance"], job.analyses["robustness"], job.analyses["fixed_points"])
    result = compare(
        job.name, job.members, job.more["references"], known, own.made(), own.fitting, job.more["confidence"]
    )
    return {"readers": result}


ANALYSIS = Analysis(
    description="What readers of weights and of responses say of networks of chains that they were not trained on.",
    writes={"readers": CONTRACT},
    run=run,
    settings=ReadersSettings,
    reads=("analysis/performance", "analysis/robustness", "analysis/fixed_points"),
    needs=("Additive",),
    applies=applies,
    more=more,
    problems=problems,
    modules=modules,
    memory_mb=3000,
    minutes=240,
)
"""What the workflow knows of this analysis."""
