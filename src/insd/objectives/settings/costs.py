"""The settings of costs."""

from collections.abc import Iterator

from insd.objectives.settings.base import UncomparedSettings
from insd.settings.base import Count, NotNegative, Positive


class CostsSettings(UncomparedSettings):
    """The penalty on what a solution costs: large weights, activity, and outputs that private noise moves."""

    multiplier: Positive = 0.1
    """The weight of all costs together: lambda of the constant schedule, or where the constrained schedule starts."""
    weights: NotNegative = 1.0
    """Weight of the squared recurrent weights per unit: g² in a network of gain g before training."""
    activity: NotNegative = 1.0
    """Weight of the mean squared rate."""
    adjoint_norm: NotNegative = 0.0
    """Weight of the variance that private noise adds to the outputs, as by the term `adjoint_norm`."""
    trials: Count = 8
    """Trials of each minibatch on which that variance is estimated."""

    def problems(self, path: str) -> Iterator[str]:
        yield from super().problems(path)
        if not (self.weights or self.activity or self.adjoint_norm):
            yield f"{path}: weights, activity and adjoint_norm are all 0; leave out the term"
