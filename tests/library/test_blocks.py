"""Values on blocks of trials: their spread is the standard error over draws of trials."""

import numpy as np
import pytest
import torch

from insd.activity import loss_and_score
from insd.evaluation.blocks import BLOCKS, losses_of_blocks, of_blocks
from insd.tasks.memory_pro import MemoryPro


@pytest.fixture(scope="module")
def drawn():
    """Trials with outputs of two networks, whose errors are of a different size in each trial."""
    trials = MemoryPro().sample("test", 3000, 0)
    random = np.random.default_rng(1)
    sizes = np.array([0.2, 0.5])[:, None, None, None] * random.uniform(0, 2, (2, 3000, 1, 1))
    errors = sizes * random.standard_normal((2, 3000, 1, 3))
    return trials, torch.from_numpy((trials["targets"].values + errors).astype(np.float32))


def test_blocks_tell_the_standard_error_over_draws_of_trials(drawn):
    """The truth is the spread of loss and score over 150 draws of 256 trials."""
    trials, outputs = drawn
    random, task = np.random.default_rng(2), MemoryPro()
    values, variances = [], []
    for _ in range(150):
        chosen = random.permutation(3000)[:256]
        of_draw, sample = outputs[:, chosen], trials.isel(trial=chosen)
        values.append(loss_and_score(task, of_draw, sample))
        variances.append([np.var(of, axis=1, ddof=1) / BLOCKS for of in of_blocks(task, of_draw, sample)])
    # Trials are drawn without replacement.
    expected = np.std(values, axis=0, ddof=1) / np.sqrt(1 - 256 / 3000)
    # Of a median of few trials the spread is not quite that of many; of a standard deviation of 150, 6 %.
    np.testing.assert_allclose(np.sqrt(np.mean(variances, axis=0)), expected, rtol=0.2)


def test_the_mean_loss_of_blocks_is_the_loss_and_few_trials_leave_blocks_empty(drawn):
    trials, outputs = (part[:, :50] if torch.is_tensor(part) else part.isel(trial=slice(50)) for part in drawn)
    losses, scored = losses_of_blocks(MemoryPro(), outputs, trials)
    whole, _ = loss_and_score(MemoryPro(), outputs, trials)
    np.testing.assert_allclose((losses * scored).sum(1) / scored.sum(), whole, rtol=1e-5)
    few = of_blocks(MemoryPro(), outputs[:, :5], trials.isel(trial=slice(5)))
    for values in few:
        assert values.shape == (2, BLOCKS) and np.isfinite(values[:, :5]).all() and np.isnan(values[:, 5:]).all()
