"""The base of every section of the config, wherever it is declared: closed, frozen models and their types."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag

from insd.errors import InsdError


class SettingsError(InsdError):
    """The config cannot be used; the message names each key, its value and the allowed values."""


class Section(BaseModel):
    """A closed, frozen section of the config: unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True)


Positive = Annotated[float, Field(gt=0)]
"""A number above 0."""
NotNegative = Annotated[float, Field(ge=0)]
"""A number of at least 0."""
Share = Annotated[float, Field(ge=0, le=1)]
"""A number from 0 to 1."""
Count = Annotated[int, Field(ge=1)]
"""A whole number of at least 1."""
CountOrAuto = Annotated[
    Annotated[Count, Tag("[number]")] | Annotated[Literal["auto"], Tag("[word]")],
    Discriminator(lambda given: "[word]" if given == "auto" else "[number]"),
]
"""The same, or the word `auto`; the tags keep messages on a number to what is wrong with it."""
Repeats = Annotated[int, Field(ge=1, le=10_000)]
"""A whole number from 1 to 10,000."""
# A name of a-z, 0-9 and `_` that begins with a letter.
TaskName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
# `module:Class`, the name of an environment, or a file of recorded trials, such as DANDI's `..._behavior+ecephys.nwb`.
ClassPath = Annotated[str, Field(pattern=r"^[\w.]+:[\w./:+-]+$")]
# A measure of this library, or `module:Class`.
MeasureName = Annotated[str, Field(pattern=r"^([a-z][a-z0-9_]*|[\w.]+:\w+)$")]
# A term of this library, or `module:Class`.
TermName = Annotated[str, Field(pattern=r"^([a-z][a-z0-9_]*|[\w.]+:\w+)$")]
# A maker of this library, or `module:Class`.
MakerName = Annotated[str, Field(pattern=r"^([a-z][a-z0-9_]*|[\w.]+:\w+)$")]
# A name of letters, digits, dots, dashes and `_`.
PopulationName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
