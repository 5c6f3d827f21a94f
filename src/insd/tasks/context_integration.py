"""Context-dependent integration: report, after a go cue, the evidence of the stream that the context names."""

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np
import xarray as xr
from jaxtyping import Float

from insd.tasks.base import Duration, GridField, Noise, NotNegative, RegimesField, Span, Task, response_mean
from insd.tasks.observers import during_stimulus, of_levels, of_uniform
from insd.tasks.variables import Variable


@dataclass(frozen=True, kw_only=True)
class ContextIntegration(Task):
    """Context-dependent integration after Mante et al. (2013, Nature 503:78).

    Inputs: two evidence streams (coherence plus white noise during the stimulus), the context (one-hot, on
    throughout) and fixation (1 until go). Output: silent until go, then the strength of the relevant evidence (see
    `target`). Periods: fixation, stimulus, delay, response, the last until the end of the trial.

    Score: share of trials with the correct sign of the output averaged over the scored response. Of coherences that
    are uniform, the smallest fifth is left out: noise hides their sign.
    """

    fixation: Span = (0.1, 0.3)
    """Shortest and longest fixation in s (ours; 0.1 s in the code of Dubreuil et al. 2022)."""
    stimulus: Span = (0.4, 1.6)
    """Shortest and longest stimulus in s (ours; Dubreuil et al. 2022: 0.8 s; Mante et al. 2013: 0.75 s)."""
    delay: Span = (0.0, 0.6)
    """Shortest and longest delay in s (ours; 0.1 s in the code of Dubreuil et al. 2022)."""
    response: Duration = 0.3
    """Shortest response in s (ours); trials with shorter earlier periods have a longer one."""
    grace: Duration = 0.1
    """Time after go that is not scored, in s (Driscoll et al. 2024)."""
    levels: tuple[float, ...] = (0.1, 0.2, 0.4)
    """Absolute coherences, equally likely, as are both signs (the code of Dubreuil et al. 2022); none: uniform."""
    coherence: NotNegative = 0.4
    """Without levels, coherences are uniform in [-coherence, coherence]; the unit of the integral either way."""
    evidence_noise: Noise = 0.1
    """Standard deviation of the evidence per step of 20 ms, or a span of it (the code of Dubreuil et al. 2022)."""
    target: Literal["strength", "sign", "integral"] = "strength"
    """What is reported after go: the strength of the relevant evidence, which is its coherence times the duration of
    the stimulus (ours), or the sign of the coherence. Or, scored at all times, the integral of that evidence so far,
    noise and all. Strength and integral are in units of `coherence` times 1 s."""
    regimes: RegimesField = field(
        default_factory=lambda: {
            "noisy": {"evidence_noise": 0.8},
            "long": {"stimulus": (3.2, 3.2)},
            "noisy_long": {"evidence_noise": 0.8, "stimulus": (3.2, 3.2)},
        }
    )
    grid: GridField = field(
        default_factory=lambda: {
            "noise": [{"evidence_noise": sd} for sd in (0.1, 0.4, 0.8, 1.6, 3.2, 6.4)],
            "duration": [{"stimulus": span} for span in ((0.4, 1.6), (1.6, 1.6), (3.2, 3.2), (6.4, 6.4))],
        }
    )

    score_name: ClassVar[str] = "sign accuracy"
    criterion: ClassVar[float] = 0.95
    chance: ClassVar[float] = 0.5
    evidence_inputs: ClassVar[tuple[str, ...]] = ("evidence_1", "evidence_2")

    def __post_init__(self) -> None:
        super().__post_init__()
        if any(level <= 0 for level in self.levels):
            raise ValueError(f"levels = {self.levels}: a coherence of 0 or less has no sign to report")
        if self.target != "sign" and not self.coherence:
            raise ValueError(f"coherence = 0: the {self.target} needs a unit")
        self.check_grace(self.grace, self.response)

    def _sample(self, n_trials: int, random: np.random.Generator) -> xr.Dataset:
        time, stimulus_on, stimulus_off, go = self.draw_periods(
            self.fixation, self.stimulus, self.delay, self.response, n_trials, random
        )
        context = random.integers(0, 2, n_trials)
        if self.levels:
            coherences = random.choice(self.levels, (n_trials, 2)) * random.choice([-1.0, 1.0], (n_trials, 2))
        else:
            coherences = random.uniform(-self.coherence, self.coherence, (n_trials, 2))

        during = ((time >= stimulus_on) & (time < stimulus_off))[..., None]
        evidence = coherences[:, None] * during
        noise = self.draw_noise(self.evidence_noise, n_trials, random) * during
        fixating = (time < go)[..., None]
        cue = np.broadcast_to(np.eye(2)[context][:, None], evidence.shape)
        relevant = coherences[np.arange(n_trials), context]
        drawn: dict[str, Any] = {}
        if self.target != "integral":
            strength = relevant * during.sum(1)[:, 0] * self.dt / self.coherence
            reported = np.sign(relevant) if self.target == "sign" else strength
            targets = np.where(fixating, 0.0, reported[:, None, None])
            scored = fixating | (time >= go + self.steps(self.grace))[..., None]
            drawn = {"noise": noise * [1.0, 1.0, 0.0, 0.0, 0.0], "random": random}
        else:
            # The noise is part of the target: it cannot be drawn again without it.
            evidence = evidence + noise * random.standard_normal(evidence.shape)
            shown = evidence[np.arange(n_trials), :, context]
            targets = shown.cumsum(1)[..., None] * self.dt / self.coherence
            scored = np.ones(targets.shape, bool)
        return self.dataset(
            np.concatenate([evidence, cue, fixating], axis=-1),
            targets,
            scored,
            ["evidence_1", "evidence_2", "context_1", "context_2", "fixation"],
            ["decision"],
            {
                "context": context + 1,
                "coherence_1": coherences[:, 0],
                "coherence_2": coherences[:, 1],
                "relevant_coherence": relevant,
                "stimulus_time": stimulus_on[:, 0] * self.dt,
                "delay_time": stimulus_off[:, 0] * self.dt,
                "go_time": go[:, 0] * self.dt,
            },
            **drawn,
        )

    def _score(self, trials: xr.Dataset, outputs: np.ndarray) -> np.ndarray | np.floating:
        return 1 - np.nanmean(self.trial_errors(trials, outputs), axis=-1)

    def trial_errors(self, trials: xr.Dataset, outputs: np.ndarray) -> np.ndarray:
        """1 where the sign of the decision is wrong, 0 where it is right; NaN for trials that the score leaves out."""
        relevant = trials["relevant_coherence"].values
        clear = np.abs(relevant) > (0.0 if self.levels else np.quantile(np.abs(relevant), 0.2))
        # The noise is part of an integral, which may have a different sign from the coherence.
        correct = trials["targets"].values[:, -1, 0]
        wrong = np.sign(response_mean(trials, outputs)[..., 0]) != np.sign(correct)
        return np.where(clear, wrong.astype(float), np.nan)

    def ideal_outputs(self, trials: xr.Dataset) -> Float[np.ndarray, "trial time output"] | None:
        """An observer that knows the times, the context, the noise, and how coherences are drawn.

        An integral can be known exactly.
        """
        outputs = trials["targets"].values.astype(float)
        if self.target == "integral":
            return outputs
        if "noise_sd" not in trials:
            return None
        trial, relevant = np.arange(len(outputs)), trials["context"].values - 1
        shown = during_stimulus(trials, self.dt)
        total = (trials["inputs"].values[trial, :, relevant].astype(float) * shown).sum(1)
        steps, sd = shown.sum(1), trials["noise_sd"].values[..., 0].max(1).astype(float)
        if self.levels:
            sign, mean = of_levels(total, steps, sd, self.levels)
        else:
            sign, mean = of_uniform(total, steps, sd, self.coherence)
        reported = sign if self.target == "sign" else mean * steps * self.dt / self.coherence
        return np.where(trials["inputs"].values[..., 4:] > 0, 0.0, reported[:, None, None])

    def variables(self, trials: xr.Dataset) -> dict[str, Variable]:
        """The coherences of both streams, of the relevant and the irrelevant one, the sign of the relevant one, and the
        context (-1: the first).
        """
        times = trials.sizes["time"]
        relevant = trials["relevant_coherence"].values
        return {
            "coherence_1": Variable.constant(trials["coherence_1"].values, times, "value"),
            "coherence_2": Variable.constant(trials["coherence_2"].values, times, "value"),
            "relevant_coherence": Variable.constant(relevant, times, "value"),
            "irrelevant_coherence": Variable.constant(
                trials["coherence_1"].values + trials["coherence_2"].values - relevant, times, "value"
            ),
            "decision": Variable.constant(np.sign(relevant), times, "sign"),
            "context": Variable.constant(2.0 * trials["context"].values - 3.0, times, "sign"),
        }

    def static_inputs(self) -> dict[str, list[float]]:
        """Both contexts without evidence, before go (hold) and after it (response)."""
        return {
            "context_1_hold": [0.0, 0.0, 1.0, 0.0, 1.0],
            "context_1_response": [0.0, 0.0, 1.0, 0.0, 0.0],
            "context_2_hold": [0.0, 0.0, 0.0, 1.0, 1.0],
            "context_2_response": [0.0, 0.0, 0.0, 1.0, 0.0],
        }
