"""Tasks of other modules: found by `module:Class`, and checked before any job relies on them."""

import importlib
import inspect
import math
import re
import warnings
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from numbers import Real
from typing import TypeVar

import numpy as np
import xarray as xr

from insd import plugins
from insd.datasets import AGAIN, CONTRACTS, DatasetError, validate
from insd.errors import InsdError
from insd.provenance import modules_fingerprint
from insd.samples import valid_steps
from insd.tasks.base import Task
from insd.tasks.environments import Environment, TrialsError, environment_task
from insd.tasks.recorded import Recorded, recorded_task
from insd.tasks.sessions import SessionError, session_fingerprint
from insd.tasks.variables import KINDS

Result = TypeVar("Result")
"""What a method of a task returns."""
ENVIRONMENTS = {"neurogym": "neurogym:", "gymnasium": ""}
"""The prefixes of environments, in the place of a module, and the module that Gymnasium then imports."""
RECORDED = "recorded"
"""The prefix of files of recorded trials, in the place of a module."""
TRIALS = 16
"""Trials that a check samples first."""
MOST_TRIALS = 256
"""Trials after which a check takes targets that do not vary for constant."""

STORED = "biufmMSU"
"""The kinds of arrays that files hold; those of text as objects, too."""


class TaskError(InsdError):
    """A class cannot serve as a task; the message names it, what is wrong and what to do."""


def find_task(path: str) -> type[Task]:
    """The class that `module:Class` names; for `neurogym:NAME` and `gymnasium:NAME`, that of the environment; for
    `recorded:FILE`, that of the trials in a file; without a colon, the task of this library in the file of that name.

    Raises TaskError if the module cannot be imported, has no such class, or the class is not a task.
    """
    if ":" not in path:
        return plugins.find("task", path)
    module_name, _, class_name = path.partition(":")
    if module_name in ENVIRONMENTS:
        try:
            return environment_task(ENVIRONMENTS[module_name] + class_name)
        except TrialsError as error:
            raise TaskError(f"class = {path!r}: {error}") from None
    if module_name == RECORDED:
        try:
            return recorded_task(class_name)
        except SessionError as error:
            raise TaskError(f"class = {path!r}: {error}") from None
    try:
        module = importlib.import_module(module_name)
    except Exception as error:
        raise TaskError(f"class = {path!r}: cannot import '{module_name}': {failure(error)}") from None
    found = getattr(module, class_name, None)
    if not inspect.isclass(found):
        tasks = [
            name
            for name, value in vars(module).items()
            if inspect.isclass(value) and issubclass(value, Task) and value is not Task
        ]
        raise TaskError(
            f"class = {path!r}: '{module_name}' has no class '{class_name}'; tasks there: {', '.join(tasks) or 'none'}"
        )
    if not issubclass(found, Task):
        raise TaskError(f"class = {path!r}: is no task; derive it from insd.tasks.Task")
    if inspect.isabstract(found):
        missing = ", ".join(sorted(found.__abstractmethods__))
        raise TaskError(f"class = {path!r}: lacks what every task must define: {missing}")
    if "__dataclass_fields__" not in vars(found):
        raise TaskError(f"class = {path!r}: needs the decorator @dataclass(frozen=True, kw_only=True)")
    return found


def task_fingerprint(task: type[Task]) -> str:
    """Digest of the code that makes a task's trials and scores: its module, what that imports from its folder and, for
    an environment, the modules that register and define it, with the versions of their packages; for recorded trials,
    of their file, too.
    """
    code = modules_fingerprint(task_modules(task))
    return f"{code}-{session_fingerprint(task.file)}" if issubclass(task, Recorded) else code


def task_modules(task: type[Task]) -> list[str]:
    """The modules that make a task's trials and scores."""
    return [task.__module__, *(task.sources if issubclass(task, Environment) else ())]


def check_task(task: Task) -> None:
    """Sample a few trials of every regime and check them, their scores, variables and static inputs.

    Raises TaskError, which names the part that breaks the contract of tasks, and how.
    """
    try:
        _check(task)
    except InsdError as error:
        # Names, which it may quote, can have several lines; and there is no file yet that could be deleted.
        raise TaskError(" ".join(str(error).removesuffix(f"; {AGAIN}").splitlines())) from None
    except Exception as error:  # what a task returns may be anything
        raise TaskError(f"{type(task).__name__}: does not keep the contract of tasks: {failure(error)}") from None


def _check(task: Task) -> None:
    channels: dict[str, list[str]] = {}
    for regime in task.regime_names():
        trials, again = (_of(task, "sample", partial(task.sample, regime, TRIALS, 0), regime) for _ in range(2))
        _check_trials(trials, f"the trials of regime '{regime}'")
        for along in ("input", "output"):
            names = [str(name) for name in trials[along].values]
            if names != channels.setdefault(along, names):
                raise TaskError(
                    f"regime '{regime}': has the {along}s {', '.join(names)} where 'train' has "
                    f"{', '.join(channels[along])}; networks are trained once for all regimes"
                )
        if not trials.identical(again):
            raise TaskError(
                f"regime '{regime}': the same seed gives other trials; draw all numbers from the generator `random`"
            )
        _check_variables(task, trials, regime)
        scored, _ = _of(task, "_score", partial(scored_trials, task, regime, trials), regime)
        if silent := unscored_outputs(scored):
            raise TaskError(
                f"the trials of regime '{regime}': 'mask' scores no time of the output {', '.join(silent)} in "
                f"{scored.sizes['trial']} trials"
            )
        if regime == "train":
            _check_score(task, scored)
            _check_free_running(task, trials)
    _check_inputs(task, channels["input"])


def _check_inputs(task: Task, inputs: list[str]) -> None:
    static_inputs = _of(task, "static_inputs", task.static_inputs)
    if not isinstance(static_inputs, Mapping):
        raise TaskError(f"static_inputs: returned {static_inputs!r}; return lists of numbers by name")
    for name, given in static_inputs.items():
        values = list(given) if isinstance(given, Iterable) else [given]
        if len(values) != len(inputs):
            raise TaskError(f"static input '{name}': has {len(values)} values for {len(inputs)} inputs")
        if not isinstance(name, str) or not all(isinstance(value, Real) and math.isfinite(value) for value in values):
            raise TaskError(f"static input {name!r}: holds {values}; give it a name and finite numbers")
    if not isinstance(task.evidence_inputs, tuple | list):
        raise TaskError(f"evidence_inputs: are {task.evidence_inputs!r}; name them in a tuple")
    if unknown := [str(name) for name in task.evidence_inputs if name not in inputs]:
        raise TaskError(f"evidence_inputs: {', '.join(unknown)} are no inputs; those are: {', '.join(inputs)}")


def _check_trials(trials: xr.Dataset, where: str) -> None:
    # The fingerprint is added by the job that stores the trials.
    validate(trials.assign_attrs(fingerprint=""), "trials", where)
    if trials.sizes["trial"] != TRIALS:
        raise DatasetError(f"{where}: {TRIALS} were asked for, {trials.sizes['trial']} came")
    for name in CONTRACTS["trials"].variables:
        if trials[name].dtype != np.float32:
            raise DatasetError(f"{where}: '{name}' is {trials[name].dtype}, not float32; use `self.dataset(...)`")
    for name in ("time", "input", "output"):
        if name not in trials.coords:
            raise DatasetError(f"{where}: the coordinate '{name}' is missing; `self.dataset(...)` adds it")
        if trials[name].dims != (name,):
            along = ", ".join(map(str, trials[name].dims))
            raise DatasetError(f"{where}: '{name}' is along '{along}'; a condition must not have this name")
    if not trials.sizes["time"]:
        raise DatasetError(f"{where}: have no time step")
    if not trials.sizes["input"] or not trials.sizes["output"]:
        raise DatasetError(
            f"{where}: have {trials.sizes['input']} inputs and {trials.sizes['output']} outputs; a network needs at "
            "least one of each, if only an input that is always zero"
        )
    _check_mask(trials, where)
    _check_stored(trials, where)


def _check_mask(trials: xr.Dataset, where: str) -> None:
    if not np.isin(trials["mask"], (0.0, 1.0)).all():
        raise DatasetError(f"{where}: 'mask' must be 0 or 1 everywhere")
    lasts = valid_steps(trials)
    if not lasts[:, 0].all() or (lasts[:, 1:] & ~lasts[:, :-1]).any():
        raise DatasetError(f"{where}: 'valid' must be true from the first step of a trial to its last, and false after")
    if trials["mask"].values[~lasts].any():
        raise DatasetError(f"{where}: 'mask' scores outputs after the end of a trial, where 'valid' is false")


def _check_stored(trials: xr.Dataset, where: str) -> None:
    """What a file must be able to hold: names, times, conditions and attributes."""
    for along in ("input", "output"):
        names = trials[along].values.tolist()
        if not all(isinstance(name, str) and name.strip() for name in names) or len(set(names)) < len(names):
            raise DatasetError(f"{where}: the {along}s are called {names}; give each a name of its own, as text")
    time = trials["time"].values
    if time.dtype.kind not in "iuf" or not np.isfinite(time).all() or not (np.diff(time) > 0).all():
        raise DatasetError(f"{where}: 'time' must be numbers that rise; `self.dataset(...)` adds it")
    for name, variable in trials.variables.items():
        if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z_][\w .-]{0,59}", name):
            raise DatasetError(
                f"{where}: the condition {name!r} cannot be the name of a variable in a file; choose up to 60 letters, "
                "digits, _, -, dots and blanks, beginning with a letter"
            )
        if variable.dtype.kind not in STORED and not all(isinstance(value, str) for value in variable.values.flat):
            raise DatasetError(
                f"{where}: '{name}' holds values of type {variable.dtype}, which files cannot hold; use numbers or text"
            )
    for attribute, value in trials.attrs.items():
        if not isinstance(value, str | Real | np.ndarray):
            raise DatasetError(
                f"{where}: the attribute {attribute!r} is {value!r}; use a number or text, or leave it out"
            )


def scored_trials(task: Task, regime: str, trials: xr.Dataset) -> tuple[xr.Dataset, float]:
    """Trials of a regime and the score of their own targets.

    Those given or, while that score is NaN or an output is not scored, twice as many up to `MOST_TRIALS`: few
    trials may by chance have one label, or no response.
    """
    score = float(np.ravel(_scores(task, trials, 1))[0])
    enough = np.isfinite(score) and not unscored_outputs(trials)
    more = 2 * trials.sizes["trial"]
    if enough or more > MOST_TRIALS:
        return trials, score
    return scored_trials(task, regime, task.sample(regime, more, 0))


def _scores(task: Task, trials: xr.Dataset, networks: int) -> np.ndarray:
    """The scores of networks whose outputs are the targets."""
    outputs = np.stack([trials["targets"].values] * networks)
    with warnings.catch_warnings():
        # Of a score that is NaN, the checks tell in their own words.
        warnings.simplefilter("ignore")
        scores = np.asarray(task._score(trials, outputs))
    if scores.dtype.kind not in "biuf":
        raise TaskError(f"score: has values of type {scores.dtype}; return one number per network")
    return scores


def unscored_outputs(trials: xr.Dataset) -> list[str]:
    """The outputs that the mask scores at no time of any trial."""
    scored = trials["mask"].transpose("output", "trial", "time").values.any((1, 2))
    return [str(name) for name in trials["output"].values[~scored]]


def _check_score(task: Task, trials: xr.Dataset) -> None:
    scores = _of(task, "_score", partial(_scores, task, trials, 2))
    if scores.shape != (2,):
        raise TaskError(f"score: has shape {scores.shape} for the outputs of 2 networks; return one number per network")
    if not np.isfinite(scores[0]):
        raise TaskError(
            f"score: the targets themselves score {float(scores[0])} ({task.score_name}) on {trials.sizes['trial']} "
            "trials; return a finite number"
            + ("" if targets_vary(trials) else ": the scored targets are the same number in all of them")
        )
    if not task.solved(float(scores[0])):
        raise TaskError(
            f"score: the targets themselves score {float(scores[0]):g} ({task.score_name}), which misses the "
            f"criterion of {task.criterion:g}"
        )


def _check_free_running(task: Task, trials: xr.Dataset) -> None:
    free = _of(task, "free_running", partial(task.free_running, trials), "train")
    if free is trials:
        return
    _check_trials(free, "the trials of `free_running`")
    if free.sizes != trials.sizes:
        raise TaskError(
            f"free_running: returned trials of the sizes {dict(free.sizes)} for some of {dict(trials.sizes)}; return "
            "the same trials with other inputs"
        )


def targets_vary(trials: xr.Dataset) -> bool:
    """Whether the scored targets are not all the same number."""
    scored = trials["targets"].values[trials["mask"].values > 0]
    return bool(scored.size and np.ptp(scored) > 0)


def _check_variables(task: Task, trials: xr.Dataset, regime: str) -> None:
    shape = (trials.sizes["trial"], trials.sizes["time"])
    variables = _of(task, "variables", partial(task.variables, trials), regime)
    if not isinstance(variables, Mapping):
        raise TaskError(f"variables: returned {variables!r}; return a `Variable` for each name")
    for name, variable in variables.items():
        values, kind = getattr(variable, "values", None), getattr(variable, "kind", None)
        if not isinstance(name, str) or not isinstance(values, np.ndarray):
            raise TaskError(f"variable {name!r}: is a {type(variable).__name__}; return a `Variable` for each name")
        if values.shape != shape or kind not in KINDS:
            raise TaskError(
                f"variable '{name}': has values of shape {values.shape} and kind {kind!r}; needs "
                f"{shape}, (trial, time), and one of: {', '.join(KINDS)}"
            )
        if values.dtype.kind not in "biuf":
            raise TaskError(f"variable '{name}': holds values of type {values.dtype}; give numbers, also to categories")
        if not np.isfinite(values).all():
            raise TaskError(f"variable '{name}': holds values that are not finite in regime '{regime}'")


def _of(task: Task, name: str, call: Callable[[], Result], regime: str = "") -> Result:
    """The result of a method of the task; TaskError with the place in the user's file if it fails."""
    try:
        return call()
    except InsdError:
        raise
    except Exception as error:
        of = f" (regime '{regime}')" if regime else ""
        raise TaskError(f"{type(task).__name__}.{name}{of} fails: {failure(error)}") from None


def failure(error: Exception) -> str:
    """What failed, in one line, with the place in the user's file."""
    frame = plugins.frame_of(error)
    place = "" if frame is None else f" ({frame.filename}, line {frame.lineno})"
    return f"{type(error).__name__}: {error}".splitlines()[0] + place
