"""Trial-based environments of Gymnasium, such as those of neurogym, as tasks.

An environment needs the interface of neurogym's `TrialEnv` for supervised training and nothing more: a space of
observations of one axis; a space of actions that is `Discrete` or a `Box` of one axis; the method `new_trial()`, after
which `ob` holds the observations (time, input) of a trial and `gt` the right action at each time; `seed(number)`; and
`dt` in ms as an argument. No action is taken in the environment.
"""

import importlib
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Annotated, Any, ClassVar

import numpy as np
import xarray as xr
from pydantic import Field

from insd.errors import InsdError
from insd.tasks.base import Task

LARGEST_SEED = 2**31
"""Seeds of environments are below this."""
WITHOUT_TRIALS = {"builtins", "abc", "typing", "gymnasium"}
"""Packages of base classes that do not draw trials."""
CHECKED_TRIALS = 64
"""Number of trials of which at least one must need a decision."""


class TrialsError(InsdError):
    """An environment cannot serve as a task; the message says why."""


@dataclass(frozen=True, kw_only=True)
class Environment(Task):
    """A task whose trials are those of an environment.

    Inputs are the observations. Outputs are, for discrete actions, one per action, with the target 1 for the right one
    and 0 for the others; for others, the action's components. Trials that are shorter than the longest are followed by
    zeros, which count nowhere. Numbers that the environment reports for a trial are its conditions.

    Score: for discrete actions, the share of correct actions (the largest output) at the times at which the correct
    action differs from that of the first time step, usually fixation, or at all times if it never
    differs; for continuous actions, the explained variance.
    """

    options: Annotated[
        Mapping[str, Any], Field(description="Arguments of the environment, such as `timing` in ms; without `dt`.")
    ] = field(default_factory=dict)

    solved_from: Annotated[
        float, Field(description="Least score of a solved network; lower it if some trials cannot be decided.")
    ] = 0.9

    environment: ClassVar[str]
    discrete: ClassVar[bool]
    sources: ClassVar[tuple[str, ...]]
    """The modules that register and define the environment."""

    @property
    def criterion(self) -> float:  # type: ignore[override]
        """`solved_from`: how well an environment can be solved depends on its options."""
        return self.solved_from

    def _sample(self, n_trials: int, random: np.random.Generator) -> xr.Dataset:
        made = make_environment(self.environment, 1000 * self.dt, self.options)
        made.seed(int(random.integers(LARGEST_SEED)))
        inputs, actions, conditions = [], [], []
        for _ in range(n_trials):
            told = made.new_trial() or {}
            inputs.append(np.array(made.ob, dtype=np.float32))
            actions.append(np.array(made.gt, dtype=np.float32))
            conditions.append({name: value for name, value in told.items() if np.ndim(value) == 0})
        lengths = np.array([len(one) for one in inputs])
        padded = [np.zeros((n_trials, lengths.max(), *parts[0].shape[1:]), np.float32) for parts in (inputs, actions)]
        for whole, parts in zip(padded, (inputs, actions), strict=True):
            for trial, part in enumerate(parts):
                whole[trial, : len(part)] = part
        observed, right = padded
        if self.discrete:
            right = (np.arange(made.action_space.n) == right[..., None]).astype(np.float32)
        within = np.arange(lengths.max()) < lengths[:, None]
        return self.dataset(
            observed,
            right,
            np.broadcast_to(within[..., None], right.shape),
            [f"observation_{index}" for index in range(observed.shape[-1])],
            [f"action_{index}" for index in range(right.shape[-1])],
            _columns(conditions) | {"steps": lengths},
            lengths,
        )

    def _score(self, trials: xr.Dataset, outputs: np.ndarray) -> np.ndarray | np.floating:
        if not self.discrete:
            return super()._score(trials, outputs)
        right, mask = trials["targets"].values.argmax(-1), trials["mask"].values[..., 0]
        if trials.sizes["output"] == 2:
            # One of the two actions may be to do nothing: both count as much.
            taken = [mask * (right == action) for action in (0, 1)]
            hits = outputs.argmax(-1) == right
            return np.mean([(hits * of).sum((-2, -1)) / of.sum() for of in taken if of.any()], axis=0)
        deciding = mask * (right != right[:, :1])
        if not deciding.any():
            deciding = mask
        return ((outputs.argmax(-1) == right) * deciding).sum((-2, -1)) / deciding.sum()


@cache
def environment_task(name: str) -> type[Task]:
    """The task of an environment by its Gymnasium name, which may begin with the module that registers it.

    Raises TrialsError if it cannot be made or is not a trial-based environment with a ground truth.
    """
    made = make_environment(name, 20.0, {})
    space: Any = getattr(made, "action_space", None)
    if len(getattr(made.observation_space, "shape", None) or ()) != 1:
        raise TrialsError(f"'{name}': its observations have the space {made.observation_space}; needs one axis")
    discrete = hasattr(space, "n")
    if not discrete and len(getattr(space, "shape", None) or ()) != 1:
        raise TrialsError(f"'{name}': its action space is {space}; it must be Discrete, or a Box of one axis")
    if not callable(getattr(made, "new_trial", None)):
        raise TrialsError(f"'{name}': has no method `new_trial`; only trial-based environments can be tasks")
    made.seed(0)
    varies = False
    for _ in range(CHECKED_TRIALS):
        made.new_trial()
        observed, right = (np.asarray(getattr(made, part, ())) for part in ("ob", "gt"))
        if right.ndim == 0 or len(right) == 0 or len(right) != len(observed):
            raise TrialsError(f"'{name}': says no right action at each time (`gt`); nothing can be trained on it")
        varies |= bool((right != right[0]).any())
    if not varies:
        raise TrialsError(
            f"'{name}': the correct action (`gt`) changes in none of {CHECKED_TRIALS} trials, so there is no "
            "decision to score"
        )
    attributes = {
        "__module__": __name__,
        "__doc__": f"The environment {name}.",
        "environment": name,
        "discrete": discrete,
        "sources": _sources(name, type(made)),
    }
    if discrete:
        attributes |= {"score_name": "accuracy of decisions", "chance": 1 / max(int(space.n) - 1, 2)}
    return dataclass(frozen=True, kw_only=True)(type("EnvironmentTask", (Environment,), attributes))


def make_environment(name: str, dt: float, options: Mapping[str, Any]) -> Any:
    """The environment itself, without wrappers, with a time step in ms."""
    try:
        gymnasium = importlib.import_module("gymnasium")
    except ImportError as error:
        raise TrialsError(f"'{name}': {error}; install the extra `insd[environments]`") from None
    try:
        with warnings.catch_warnings():
            # They concern rendering and acting, and would be repeated with every sample.
            warnings.simplefilter("ignore")
            made = gymnasium.make(name, dt=dt, disable_env_checker=True, **options)
    except Exception as error:
        missing = isinstance(error, ImportError) and name.startswith("neurogym:")
        hint = "; how to install neurogym: docs/own-task.md" if missing else ""
        raise TrialsError(f"'{name}': cannot be made: {type(error).__name__}: {error}{hint}") from None
    return made.unwrapped


def _sources(name: str, environment: type) -> tuple[str, ...]:
    """The module that registers an environment, if its name gives it, and those of its class and bases."""
    modules = {base.__module__ for base in environment.__mro__}
    if ":" in name:
        modules.add(name.partition(":")[0])
    return tuple(sorted(module for module in modules if module.partition(".")[0] not in WITHOUT_TRIALS))


def _columns(conditions: list[dict[str, Any]]) -> dict[str, np.ndarray]:
    """The numbers and words that every trial reports, along trials; logical values as 0 and 1."""
    shared = set.intersection(*(set(one) for one in conditions)) - {"steps"}
    columns = {name: np.array([one[name] for one in conditions]) for name in sorted(shared)}
    return {
        name: values.astype(int) if values.dtype == bool else values
        for name, values in columns.items()
        if values.dtype.kind in "biufU"
    }
