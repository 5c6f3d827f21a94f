"""The sections of the config, but for those that makers, terms, architectures and analyses declare."""

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, ValidationError, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from insd import plugins
from insd.settings.base import (
    ClassPath,
    Count,
    MakerName,
    PopulationName,
    Repeats,
    Section,
    Share,
    TaskName,
)
from insd.settings.recipe import Layer

Role = Literal["standard", "untrained", "reference", "alternative", "control"]
"""What a network is to the comparisons."""


def _maker_keys(schema: dict[str, Any]) -> None:
    """Complete the schema of a population by the sections of this library's makers."""
    for name in plugins.names("maker"):
        section = plugins.find("maker", name).Settings
        if section.model_fields:
            schema["properties"][name] = section.model_json_schema()
    schema["additionalProperties"] = False


class Population(Layer):
    """A named recipe for making networks."""

    # The maker's own section has the maker's name.
    model_config = ConfigDict(extra="allow", json_schema_extra=_maker_keys)

    seeds: Repeats
    """Number of independent repeats; seeds are 0, 1, ... For a deflated population, one chain each."""
    rounds: Repeats = 1
    """Rounds of each seed: round 0 is the reference, round k is deflated against rounds 0 to k - 1."""
    make: MakerName = "train"
    """How its networks come to be: `train`, by training; `walk`, by walks from round 0 at a loss below a ceiling;
    `checkpoint`, from files of trained networks; `recording`, not at all: recorded activity takes the place of round 0
    of the chains that refer to it; `teach`, by training on the task and on recorded units of a teacher, which is any
    round of any population, or a recording; `fit_low_rank`, by fitting networks of a given rank to the activity of such
    a round, or to a recording; or your own, as `module:Class`. The keys of the maker are in the section of the
    population that has its name."""
    tasks: Annotated[list[TaskName], Field(min_length=1)] | None = None
    """The tasks that it is made for; all without it."""
    role: Role | None = None
    """The role of its networks or, in a population of several rounds, of its later rounds: `standard`, `untrained`,
    `reference`, `alternative` or `control` (docs/own-task.md says what each is for). Without it, round 0 of a chain is
    a `reference`, later rounds are `alternative`, networks of 0 iterations `untrained`, and one round of the
    architecture `rate` on the task alone is `standard`; every other population needs this key."""
    reference: PopulationName | None = None
    """Population whose round 0, seed by seed, is the reference; without it, round 0 is made by this population."""
    standards: Annotated[list[PopulationName], Field(min_length=1)] | None = None
    """The populations of standards that its networks are compared with; without it, all those of its tasks or, for
    standards that others name, those that they name along with it."""
    alternatives: Layer = Layer()
    """Settings that differ for rounds 1, 2, ..., laid over the population's other settings."""

    @model_validator(mode="before")
    @classmethod
    def _only_known_keys(cls, given: Any) -> Any:
        """Refuse keys other than those above and the maker's section."""
        if not isinstance(given, dict) or not isinstance(given.get("make", ""), str):
            return given
        make = given.get("make", "train")
        if unknown := sorted(set(given) - set(cls.model_fields) - {make}):
            try:
                own = ", ".join(plugins.find("maker", make).Settings.model_fields)
            except plugins.PluginError as error:
                # The section of a maker that is misspelt, say.
                raise ValueError(f"make = {make!r}: {str(error).removeprefix(f'{make}: ')}") from None
            known = ", ".join(cls.model_fields) + (f", and {make}: {{{own}}}" if own else "")
            kind = PydanticCustomError("extra_forbidden", "unknown key", {"known": known})
            errors = [InitErrorDetails(type=kind, loc=(key,), input=given[key]) for key in unknown]
            raise ValidationError.from_exception_data(cls.__name__, errors)
        return given


class Figures(Section):
    """Choices of what figures show."""

    chain: PopulationName | None = None
    """The population whose reference and alternatives are shown side by side; required if several have
    alternatives."""
    own: list[ClassPath] = []
    """Figures of your own, each `module:FIGURE`; the name of the module is that of the files. Modules are looked for in
    the working directory, too."""


class TaskEntry(Section):
    """A task of the grid: one of this library, or any other class."""

    class_path: Annotated[ClassPath | None, Field(alias="class")] = None
    """`module:Class`, a task of another module that can be imported; `neurogym:NAME` or `gymnasium:NAME`, an
    environment, where NAME may begin with the module that registers it; `recorded:FILE`, the trials of an experiment in
    an NWB or NetCDF file; by default, the task of that name."""
    parameters: dict[str, Any] = {}
    """Numbers of the task that differ from its defaults (the tables of the tasks list them)."""


class Trials(Section):
    """How many trials are drawn."""

    train: Count = 2048
    """Trials of the training bank, including the held-out ones."""
    evaluation: Count = 256
    """Trials of the regime `test` and of each harder regime."""


class Comparisons(Section):
    """Bootstrap intervals over networks, in tables, claims and figures."""

    confidence: Annotated[float, Field(gt=0, lt=1)] = 0.95
    """Confidence of each bootstrap interval over networks."""
    resamples: Count = 9999
    """Resamples of the bootstrap."""


class Analyses(Section):
    """Settings of the analyses by name, `analysis.NAME`, each in a table of its own below, and of the comparisons. An
    analysis of your own is named `module:CONSTANT`."""

    model_config = ConfigDict(extra="allow")

    comparisons: Comparisons = Comparisons()
    """Alternatives against standard networks."""
    networks_per_block: Count = 64
    """Most networks of a task whose pairs are compared in one job; pairs of more are compared in blocks of at most so
    many networks, in one job per pair of blocks (docs/scale.md)."""
    deflated_r2: Share = 0.25
    """Largest null-space r² to any earlier network of its chain that a network has that counts as deflated (ours)."""


def without_null(entries: Any) -> Any:
    """The entries of a section but for those that are null."""
    return {key: entry for key, entry in entries.items() if entry is not None} if isinstance(entries, dict) else entries
