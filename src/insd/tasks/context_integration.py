"""Context-dependent integration: report the sign of the evidence stream that the context names, after a go cue."""

from dataclasses import dataclass, field
from typing import ClassVar, Literal

import numpy as np
import xarray as xr

from insd.tasks.base import Duration, GridField, NotNegative, RegimesField, Span, Task, Variable, response_mean


@dataclass(frozen=True, kw_only=True)
class ContextIntegration(Task):
    """Context-dependent integration after Mante et al. (2013, Nature 503:78).

    Inputs: two evidence streams (coherence plus white noise during the stimulus), the context (one-hot, on
    throughout) and fixation (1 until go). Output: silent until go, then the decision. Periods: fixation, stimulus,
    delay, response, the last until the end of the trial.

    Score: share of correct signs of the output averaged over the scored response, on the trials whose relevant
    |coherence| is not in the smallest fifth.
    """

    fixation: Span = (0.1, 0.3)
    """Shortest and longest fixation in s (ours; 0.1 s in the code of Dubreuil et al. 2022)."""
    stimulus: Span = (0.8, 0.8)
    """Shortest and longest stimulus in s (Dubreuil et al. 2022: 0.8 s; Mante et al. 2013: 0.75 s)."""
    delay: Span = (0.1, 0.3)
    """Shortest and longest delay in s (ours; 0.1 s in the code of Dubreuil et al. 2022)."""
    response: Duration = 0.3
    """Shortest response in s (ours); trials with shorter earlier periods have a longer one."""
    grace: Duration = 0.1
    """Time after go that is not scored, in s (Driscoll et al. 2024)."""
    coherence: NotNegative = 0.4
    """Coherences are uniform in [-coherence, coherence] (ours; the largest in the code of Dubreuil et al. 2022)."""
    evidence_noise: NotNegative = 0.1
    """Standard deviation of the evidence per step of 20 ms (the code of Dubreuil et al. 2022)."""
    target: Literal["sign", "integral"] = "sign"
    """Decision: the sign of the relevant coherence (ours), or its mean evidence over `coherence`, clipped to 1."""
    regimes: RegimesField = field(
        default_factory=lambda: {
            "noisy": {"evidence_noise": 0.8},
            "long": {"stimulus": (1.6, 1.6)},
            "noisy_long": {"evidence_noise": 0.8, "stimulus": (1.6, 1.6)},
        }
    )
    grid: GridField = field(
        default_factory=lambda: {
            "noise": [{"evidence_noise": sd} for sd in (0.1, 0.4, 0.8, 1.6, 3.2, 6.4)],
            "duration": [{"stimulus": (length, length)} for length in (0.8, 1.6, 3.2, 6.4)],
        }
    )

    score_name: ClassVar[str] = "sign accuracy"
    criterion: ClassVar[float] = 0.95
    chance: ClassVar[float] = 0.5
    evidence_inputs: ClassVar[tuple[str, ...]] = ("evidence_1", "evidence_2")

    def _sample(self, n_trials: int, random: np.random.Generator) -> xr.Dataset:
        time, stimulus_on, stimulus_off, go = self.draw_periods(
            self.fixation, self.stimulus, self.delay, self.response, n_trials, random
        )
        context = random.integers(0, 2, n_trials)
        coherences = random.uniform(-self.coherence, self.coherence, (n_trials, 2))

        during = ((time >= stimulus_on) & (time < stimulus_off))[..., None]
        evidence = coherences[:, None] + self.step_noise(self.evidence_noise) * random.standard_normal(
            (n_trials, time.size, 2)
        )
        evidence = evidence * during
        fixating = (time < go)[..., None]
        cue = np.broadcast_to(np.eye(2)[context][:, None], evidence.shape)
        inputs = np.concatenate([evidence, cue, fixating], axis=-1)

        relevant = coherences[np.arange(n_trials), context]
        if self.target == "sign":
            decision = np.sign(relevant)
        else:
            shown = evidence[np.arange(n_trials), :, context].sum(1) / during[..., 0].sum(1)
            decision = np.clip(shown / self.coherence, -1, 1)
        targets = np.where(fixating, 0.0, decision[:, None, None])
        scored = fixating | (time >= go + self.steps(self.grace))[..., None]
        return self.dataset(
            inputs,
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
        )

    def _score(self, trials: xr.Dataset, outputs: np.ndarray) -> np.ndarray | np.floating:
        relevant = trials["relevant_coherence"].values
        clear = np.abs(relevant) > np.quantile(np.abs(relevant), 0.2)
        decision = response_mean(trials, outputs)[..., 0]
        return (np.sign(decision) == np.sign(relevant))[..., clear].mean(-1)

    def variables(self, trials: xr.Dataset) -> dict[str, Variable]:
        """The coherences of both streams and of the relevant one, its sign, and the context (-1: the first)."""
        times = trials.sizes["time"]
        relevant = trials["relevant_coherence"].values
        return {
            "coherence_1": Variable.constant(trials["coherence_1"].values, times, "value"),
            "coherence_2": Variable.constant(trials["coherence_2"].values, times, "value"),
            "relevant_coherence": Variable.constant(relevant, times, "value"),
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
