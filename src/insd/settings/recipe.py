"""The recipe of a round: its sections, and how the layers of the config are laid over each other to make it."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BeforeValidator, Field, SerializeAsAny, ValidationError

from insd.networks.settings.base import NetworkSettings, network_settings, settings_class
from insd.objectives.settings.base import TermSettings, term_settings
from insd.plugins import PluginError
from insd.settings.base import Count, Positive, Section, SettingsError, TaskName, TermName
from insd.settings.messages import lines

Kind = TypeVar("Kind", bound=Section)
"""A section of the config."""
DEFAULT_TERMS: Mapping[str, Mapping[str, Any]] = {"predictivity": {}}
"""The terms of a round where no layer says otherwise: INSD's."""


class Training(Section):
    """Optimisation of one network, by Adam."""

    iterations: Annotated[int, Field(ge=0)] = 1500
    """Most iterations of one attempt; 0 leaves the network untrained."""
    batch_size: Count = 64
    """Trials of the bank per iteration."""
    step_size: Positive = 3e-3
    """Step size of Adam, at its peak."""
    step_schedule: Literal["one_cycle", "constant"] = "one_cycle"
    """`one_cycle`: the step size rises over the first tenth of the iterations and falls to nearly 0 at their end."""
    gradient_clip: Positive = 1.0
    """Largest norm of a network's gradient."""
    evaluate_every: Count = 100
    """Iterations between evaluations on the held-out trials of the bank."""
    validation_trials: Count = 256
    """Trials of the bank held out from training."""
    loss_bound: Positive = 0.05
    """Held-out task loss (unexplained share of the targets' variance) that is good enough."""
    patience: Count = 5
    """Evaluations in a row that must meet every bound before training stops early."""
    restarts: Annotated[int, Field(ge=0)] = 2
    """Most restarts of a network that does not solve the held-out trials."""
    finishing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the iterations, the last ones, in which terms count only as far as they exceed their bounds (a hinge):
    the task loss then falls as far as these bounds allow. With it, training does not stop early."""
    fresh_noise: bool = False
    """Whether each minibatch has input noise of its own, on the conditions of the bank; evaluations and terms that
    compare networks with earlier ones keep to the bank's."""
    substeps: Annotated[list[Count], Field(min_length=1)] = [1]
    """Numbers of Euler steps per input sample, of which each iteration takes one at random: with [1, 2] solutions are
    those of the flow, not of one step size."""


def _as_network(given: Any) -> Any:
    return network_settings(given) if isinstance(given, Mapping) else given


def _as_terms(given: Any) -> Any:
    if not isinstance(given, Mapping):
        return given
    return {
        name: term_settings(name).model_validate(dict(own)) if isinstance(own, Mapping) else own
        for name, own in given.items()
    }


class Recipe(Section):
    """Everything that makes the networks of one round."""

    network: Annotated[SerializeAsAny[NetworkSettings], BeforeValidator(_as_network)] = Field(
        default_factory=lambda: network_settings({})
    )
    """The network and its initial weights, by the settings of its architecture."""
    training: Training = Training()
    """The optimisation."""
    terms: Annotated[dict[TermName, SerializeAsAny[TermSettings]], BeforeValidator(_as_terms)] = Field(
        default_factory=lambda: _as_terms(DEFAULT_TERMS)
    )
    """What is minimised besides the task loss, by the settings of each term."""


class Changes(Section):
    """The keys of a recipe that a layer sets: only keys that are given count."""

    network: dict[str, Any] = {}
    """The network and its initial weights: keys of its architecture, checked once all layers are laid over each other.
    A layer that names a different architecture drops the keys that only the layer below has."""
    training: Training = Training()
    """The optimisation."""
    terms: dict[TermName, dict[str, Any] | None] = {}
    """What is minimised besides the task loss: terms of this library by name or your own as `module:Class`, each with
    its keys; null leaves out a term of a layer below. Without this section, `predictivity` with its defaults."""


class Layer(Changes):
    """Settings laid over those of the layers below: only the keys that are given count."""

    by_task: dict[TaskName, Changes] = {}
    """Settings that differ for a task, laid over the rest of this layer."""


Layers = Sequence[tuple[str, Changes]]
"""Layers by their paths in the config, each laid over those before."""


def recipe_of(layers: Layers) -> Recipe:
    """The recipe that layers make; SettingsError with one line per problem where a section cannot be read."""
    training: dict[str, Any] = {}
    for _, layer in layers:
        training |= layer.training.model_dump(exclude_unset=True)
    return Recipe(network=network_of(layers), training=Training(**training), terms=terms_of(layers))


def problems_of(layers: Layers) -> Iterator[str]:
    """What is wrong with the sections that are checked once all layers are laid over each other, one line each."""
    for section in (network_of, terms_of):
        try:
            section(layers)
        except SettingsError as error:
            yield from str(error).splitlines()


def network_of(layers: Layers) -> NetworkSettings:
    """The settings of the network in layers, by those of its architecture.

    Raises SettingsError with one line per problem, each with the path of the layer that the key is from.
    """
    architecture, architecture_from = "rate", ""
    values: dict[str, Any] = {}
    paths: dict[str, str] = {}
    try:
        for path, layer in layers:
            before = architecture
            if "architecture" in layer.network:
                architecture, architecture_from = str(layer.network["architecture"]), f"{path}.network"
            if architecture != before:
                dropped = set(settings_class(before).model_fields) - set(settings_class(architecture).model_fields)
                values = {key: value for key, value in values.items() if key not in dropped}
            values |= layer.network
            paths |= dict.fromkeys(layer.network, f"{path}.network")
        found = settings_class(architecture)
    except PluginError as error:
        why = str(error).removeprefix(f"{architecture}: ")
        raise SettingsError(f"{architecture_from}.architecture = {architecture!r}: {why}") from None
    return checked(found, values, architecture_from or f"{layers[-1][0]}.network", paths)


def terms_of(layers: Layers) -> dict[str, TermSettings]:
    """The settings of the terms in layers, each by those of its class.

    Raises SettingsError with one line per problem, each with the path of the layer that the key is from.
    """
    values: dict[str, dict[str, Any]] = {name: dict(own) for name, own in DEFAULT_TERMS.items()}
    paths: dict[str, dict[str, str]] = {name: {"": f"terms.{name}"} for name in DEFAULT_TERMS}
    for path, layer in layers:
        for name, own in layer.terms.items():
            where = f"{path}.terms.{name}"
            if own is None:
                values.pop(name, None)
                continue
            values[name] = values.get(name, {}) | own
            paths[name] = {"": where, **paths.get(name, {}), **dict.fromkeys(own, where)}
    problems, found = [], {}
    for name, own in values.items():
        try:
            found[name] = checked(term_settings(name), own, paths[name][""], paths[name])
        except PluginError as error:
            problems.append(f"{paths[name]['']}: {str(error).removeprefix(f'{name}: ')}")
        except SettingsError as error:
            problems.append(str(error))
    if problems:
        raise SettingsError("\n".join(problems))
    return found


def checked(found: type[Kind], values: Any, default: str, paths: Mapping[str, str] | None = None) -> Kind:
    """Values as settings; else SettingsError with one line per problem: each key below its path, or the default one."""
    try:
        return found.model_validate_json(json.dumps(values, default=str), strict=True)
    except ValidationError as error:
        known = ", ".join(found.model_fields)
        problems = lines(error, lambda key: f"{(paths or {}).get(key, default)}.", lambda place: known)
        raise SettingsError("\n".join(problems)) from None
