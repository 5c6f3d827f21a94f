"""The base of tasks whose responses are learned as a distribution: networks report by undoing noise step by step.

A trial has a stimulus, a delay, a cue, a gap and T steps of report. Behaviour is a point in a plane, near a circle, and
starts the report as noise; see `insd.behaviour.diffusion`. The noise is part of the trial, so that networks are
functions of inputs as in any other task: the last three inputs act on behaviour. Before a step, `noise_x` and `noise_y`
are added to it and, where `clamp` is 1, what it was is first taken away. Networks with a plane of behaviour do so
(`insd.networks.plane`); for others they are inputs like all.

Source: "Setting up for failure" (arXiv 2512.04808).
"""

from abc import abstractmethod
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import xarray as xr
from jaxtyping import Float, Int
from pydantic import Field

from insd.behaviour import swaps
from insd.behaviour.diffusion import Schedule
from insd.provenance import random_seed
from insd.tasks.base import Duration, GridField, Noise, NotNegative, RegimesField, Task
from insd.tasks.variables import Variable

MOST_STEPS = 1000
"""Of a report."""
REPORT_INPUTS = 8
"""Inputs that say how far the report is: cosines of it, the first of which is 1 throughout (ours; 8 in the source)."""
BEHAVIOUR_INPUTS = ("noise_x", "noise_y", "clamp")
"""The last inputs of every trial, which act on behaviour."""


@dataclass(frozen=True)
class Presented:
    """What some trials present, and the probability of each item to be reported."""

    stimulus: Float[np.ndarray, "trial stimulus_input"]
    """Inputs during the stimulus."""
    cue: Float[np.ndarray, "trial cue_input"]
    """Inputs during the cue."""
    names: list[str]
    """Of all these inputs."""
    angles: Float[np.ndarray, "trial item"]
    cued: Int[np.ndarray, "trial"]
    """From 0."""
    chosen: Float[np.ndarray, "trial item"]
    """The probability of each item to be reported, in trials without a guess."""
    features: Float[np.ndarray, "trial item"] | None = None
    """By which items are cued, if they are."""


@dataclass(frozen=True, kw_only=True)
class Denoising(Task):
    """Trials in which one of some items is reported, with errors. A subclass defines `_presented`.

    Outputs are behaviour: after each step of a report, the mean of what the noise leaves after it, and in the last step
    the response. Score: how far the share of responses about the cued item, or about all others, is from that among
    responses drawn from the model, whichever is further; shares are estimated by mean cosines of the distance, since
    items are independent. That is meant for sampled behaviour: with teacher forcing the last step begins next to the
    response, and nearly any network scores well.
    """

    # As annotations, since only docstrings of a class's own fields reach the table of keys.
    stimulus: Annotated[Duration, Field(description="Duration of the stimulus in s (5 steps, as published).")] = 0.1
    delay: Annotated[Duration, Field(description="Duration of the delay in s (15 steps, as published).")] = 0.3
    cue: Annotated[Duration, Field(description="Duration of the cue in s (5 steps, as published).")] = 0.1
    gap: Annotated[Duration, Field(description="Time between cue and report in s (a step, as published).")] = 0.02
    report_steps: Annotated[
        int, Field(description="Steps of the report T, from 2 to 1,000 (ours; 40 in the publication).")
    ] = 20
    last_variance: Annotated[
        float | None,
        Field(
            description="Variance of the last step of noise (.30 in the publication, for 40 steps); without it, .1 of "
            "a response are left in the end."
        ),
    ] = None
    radius: Annotated[NotNegative, Field(description="Length of a response (as published).")] = 2.5
    response_noise: Annotated[
        NotNegative,
        Field(description="Standard deviation of responses along each axis, as a share of the radius (as published)."),
    ] = 0.05
    guesses: Annotated[NotNegative, Field(description="Share of responses at a random angle (ours).")] = 0.0
    behaviour: Annotated[
        Literal["forced", "sampled", "mean"],
        Field(
            description="Behaviour during the report. `forced`: in the regime `train`, it is replaced before each step "
            "by the response with the noise of that step (teacher forcing), which networks learn to undo; other "
            "regimes are `sampled`: it starts as noise, and noise is added after each step. `mean`: there is no noise "
            "in any regime, and the response is learned by its squared error in the last step, as a control."
        ),
    ] = "forced"
    input_noise: Annotated[
        Noise,
        Field(
            description="Standard deviation of the noise of stimulus and cue inputs per step of 20 ms (ours), or its "
            "span."
        ),
    ] = 0.0
    rest: Annotated[
        NotNegative,
        Field(
            description="Weight of the squared length of behaviour before the report, by that of responses (as "
            "published)."
        ),
    ] = 1e-3
    regimes: RegimesField = field(
        default_factory=lambda: {
            "noisy": {"input_noise": 0.4},
            "long": {"delay": 1.2},
            "noisy_long": {"input_noise": 0.4, "delay": 1.2},
        }
    )
    grid: GridField = field(
        default_factory=lambda: {
            "noise": [{"input_noise": sd} for sd in (0.0, 0.1, 0.2, 0.4, 0.8, 1.6)],
            "duration": [{"delay": delay} for delay in (0.3, 0.6, 1.2, 2.4)],
        }
    )

    score_name: ClassVar[str] = "error of the shares"
    criterion: ClassVar[float] = 0.1
    higher_is_better: ClassVar[bool] = False
    chance: ClassVar[float] = 0.7

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 2 <= self.report_steps <= MOST_STEPS:
            raise ValueError(f"report_steps = {self.report_steps}: from 2 to {MOST_STEPS}")
        if not self.steps(self.stimulus):
            raise ValueError(f"stimulus = {self.stimulus} s: needs at least one time step, dt = {self.dt} s")
        if self.radius == 0:
            raise ValueError("radius = 0: must be positive")
        if self.guesses > 1:
            raise ValueError(f"guesses = {self.guesses}: a share, from 0 to 1")
        try:
            _ = self.schedule
        except ValueError as error:
            raise ValueError(
                f"report_steps = {self.report_steps}, last_variance = {self.last_variance}: {error}"
            ) from None

    @property
    def schedule(self) -> Schedule:
        """The noise of each step of the report."""
        return Schedule.linear(self.report_steps, last=self.last_variance)

    @property
    def report_begins(self) -> int:
        """The first step of the report."""
        return sum(self.steps(span) for span in (self.stimulus, self.delay, self.cue, self.gap))

    def in_regime(self, regime: str) -> "Denoising":
        """As in `Task`; teacher forcing is for the regime `train` alone."""
        found = super().in_regime(regime)
        assert isinstance(found, Denoising)
        if regime != "train" and found.behaviour == "forced":
            return replace(found, behaviour="sampled")
        return found

    @abstractmethod
    def _presented(self, n_trials: int, random: np.random.Generator) -> Presented:
        """What the trials present."""

    def _sample(self, n_trials: int, random: np.random.Generator) -> xr.Dataset:
        shown = self._presented(n_trials, random)
        angle, source = swaps.draw(shown.angles, shown.chosen, self.guesses, random)
        centre = np.stack([np.cos(angle), np.sin(angle)], axis=-1)
        response = self.radius * (centre + self.response_noise * random.standard_normal(centre.shape))

        begins, report = self.report_begins, self.report_steps
        times, stimuli = begins + report, shown.stimulus.shape[1]
        inputs = np.zeros((n_trials, times, len(shown.names) + REPORT_INPUTS + len(BEHAVIOUR_INPUTS)))
        inputs[:, : self.steps(self.stimulus), :stimuli] = shown.stimulus[:, None]
        cue_on = self.steps(self.stimulus) + self.steps(self.delay)
        cue_off = cue_on + self.steps(self.cue)
        inputs[:, cue_on:cue_off, stimuli : len(shown.names)] = shown.cue[:, None]
        phase = np.pi * (np.arange(report) + 0.5) / report
        of_report = slice(len(shown.names), -len(BEHAVIOUR_INPUTS))
        inputs[:, begins:, of_report] = np.cos(phase[:, None] * np.arange(REPORT_INPUTS))

        # Along the report, steps are counted down.
        targets = np.zeros((n_trials, times, 2))
        mask = np.zeros_like(targets)
        if self.behaviour == "forced":
            noised = self.schedule.noised(response, random)
            inputs[:, begins:, -3:-1], inputs[:, begins:, -1] = noised[::-1].swapaxes(0, 1), 1.0
            targets[:, begins:] = self.schedule.means(noised, response)[::-1].swapaxes(0, 1)
            mask[:, begins:] = 1.0
        else:
            targets[:, -1], mask[:, -1] = response, 1.0
            inputs[:, begins, -1] = 1.0
            if self.behaviour == "sampled":
                inputs[:, begins:, -3:-1] = self._noise_of_report(n_trials, random)
        items = range(shown.angles.shape[1])
        features = {} if shown.features is None else {f"feature_{item + 1}": shown.features[:, item] for item in items}
        shown_inputs = np.arange(inputs.shape[2]) < len(shown.names)
        return self.dataset(
            inputs,
            targets,
            mask,
            [*shown.names, *(f"report_{number}" for number in range(REPORT_INPUTS)), *BEHAVIOUR_INPUTS],
            ["x", "y"],
            {
                **{f"angle_{item + 1}": shown.angles[:, item] for item in items},
                **{f"probability_{item + 1}": (1 - self.guesses) * shown.chosen[:, item] for item in items},
                **features,
                "cued": shown.cued + 1,
                "source": source + 1,
            },
            noise=self.draw_noise(self.input_noise, n_trials, random) * shown_inputs,
            random=random,
        )

    def _noise_of_report(self, n_trials: int, random: np.random.Generator) -> Float[np.ndarray, "trial report_step xy"]:
        """What is added to sampled behaviour before each step: at first all that it is, then the noise of a sampler."""
        sd = np.concatenate([self.schedule.noise[-1:], self.schedule.sampling_sd[:0:-1]])
        return sd[:, None] * random.standard_normal((n_trials, self.report_steps, 2))

    def free_running(self, trials: xr.Dataset) -> xr.Dataset:
        """The same trials with sampled behaviour in place of teacher forcing, always with the same noise."""
        if self.behaviour != "forced":
            return trials
        inputs, begins = trials["inputs"].values.copy(), self.report_begins
        random = np.random.default_rng(random_seed("free-running", trials.sizes["trial"]))
        inputs[:, begins:, -3:-1] = self._noise_of_report(len(inputs), random)
        inputs[:, begins + 1 :, -1] = 0.0
        return trials.assign(inputs=(trials["inputs"].dims, inputs))

    def loss(
        self,
        outputs: Float[Any, "network time trial output"],
        targets: Float[Any, "*network time trial output"],
        mask: Float[Any, "*network time trial output"],
        variance: float,
    ) -> Float[Any, "network"]:
        """The squared error of the mean that each step should lead to, plus the regulariser of `rest`.

        It is a share of the error of the best linear guess from the noised response alone: with 1, a network does not
        know the trial. Up to its scale it is the published squared error of the drift in the plane. Where only the last
        step is scored, it is a share of the squared length of responses; on sampled trials, which compare a
        response with another draw of the model, it says little.
        """
        # From the end: in a regime or at a level of the grid, all that precedes the report may be longer.
        power, begins = self.radius**2 * (0.5 + self.response_noise**2), outputs.shape[1] - self.report_steps
        schedule = self.schedule
        left = schedule.noise**2 / (schedule.noise**2 + schedule.kept**2 * power)
        weights = outputs.new_tensor((schedule.weights[1] ** 2 * left)[::-1].copy())[:, None, None]
        throughout = mask[..., begins : begins + 1, :, :]
        scale = (mask[..., begins:, :, :] * (throughout * weights + (1 - throughout))).sum((-3, -2, -1)) * power
        errors = ((outputs - targets).square() * mask).sum((1, 2, 3)) / scale
        return errors + self.rest * outputs[:, begins - 1].square().mean((1, 2)) / power if begins else errors

    def _score(self, trials: xr.Dataset, outputs: np.ndarray) -> np.ndarray | np.floating:
        angles, _, cued = items_of(trials)
        drawn = trials["targets"].values[:, -1].astype(float)
        excess = self._along(outputs[..., -1, :], angles) - self._along(drawn, angles)
        of_cued = np.take_along_axis(excess, np.broadcast_to(cued[:, None], excess[..., :1].shape), -1)[..., 0]
        return np.maximum(np.abs(of_cued.mean(-1)), np.abs((excess.sum(-1) - of_cued).mean(-1)))

    def _along(
        self, responses: Float[np.ndarray, "*network trial 2"], angles: Float[np.ndarray, "trial item"]
    ) -> Float[np.ndarray, "*network trial item"]:
        """Cosine of the distance of a response to each item; where the mean is learned, times its relative length."""
        length = self.radius if self.behaviour == "mean" else np.linalg.norm(responses, axis=-1)[..., None]
        x, y = responses[..., :1], responses[..., 1:]
        return (x * np.cos(angles) + y * np.sin(angles)) / np.maximum(length, np.finfo(float).tiny)

    def variables(self, trials: xr.Dataset) -> dict[str, Variable]:
        """The angle of the cued item and, where there are others, that of the first of them."""
        angles, _, cued = items_of(trials)
        rows, times = np.arange(len(cued)), trials.sizes["time"]
        found = {"cued_angle": Variable.constant(angles[rows, cued], times, "angle")}
        if angles.shape[1] > 1:
            found["other_angle"] = Variable.constant(angles[rows, (cued == 0).astype(int)], times, "angle")
        return found

    def static_inputs(self) -> dict[str, list[float]]:
        """The delay, in which nothing is shown."""
        return {"memory": [0.0] * self.sample("test", 1, 0).sizes["input"]}


def items_of(
    trials: xr.Dataset,
) -> tuple[Float[np.ndarray, "trial item"], Float[np.ndarray, "trial item"], Int[np.ndarray, "trial"]]:
    """Angles of items, the probability of each to be reported, and which is cued, from 0."""
    count = sum(str(name).startswith("angle_") for name in trials.coords)
    angles, probabilities = (
        np.stack([trials[f"{name}_{item + 1}"].values for item in range(count)], axis=1)
        for name in ("angle", "probability")
    )
    return angles, probabilities, trials["cued"].values - 1
