"""Rates about their mean over samples, which terms that compare patterns of activity are functions of."""

from jaxtyping import Float
from torch import Tensor

from insd.objectives.base import mean_over_samples


def centred(
    values: Float[Tensor, "network sampled_time trial column"],
    valid: Float[Tensor, "network sampled_time trial"] | None,
) -> Float[Tensor, "network sample column"]:
    """Values less their mean over the samples that count, those of all times and trials in one axis; zero at others.

    `valid` is that of `insd.objectives.base.Term.value`.
    """
    less = values - mean_over_samples(values, valid)[:, None, None]
    if valid is not None:
        less = less * valid[..., None].to(less.dtype)
    return less.flatten(1, 2)


def sample_counts(
    values: Float[Tensor, "network sampled_time trial column"],
    valid: Float[Tensor, "network sampled_time trial"] | None,
) -> Float[Tensor, "network"]:
    """How many samples of each network count."""
    if valid is None:
        return values.new_full((len(values),), values.shape[1] * values.shape[2])
    return valid.to(values.dtype).sum((1, 2))
