"""What a solution costs, as a term: weights, activity, and outputs that private noise moves."""

from jaxtyping import Float, Int
from torch import Tensor

from insd.networks.base import Networks
from insd.objectives.adjoint_norm import AdjointNorm
from insd.objectives.base import Stored, Term, mean_over_samples, recurrent_matrices
from insd.objectives.settings.adjoint_norm import AdjointNormSettings
from insd.objectives.settings.costs import CostsSettings


class Costs(Term):
    """The weighted sum ``weights |J|^2 / N + activity mean(r^2) + adjoint_norm |dy/dn|^2`` of a network of N units.

    J are all weights from units to units, the mean is over units, times and trials, and the last is the value of the
    term `adjoint_norm`. The ratio of the first two weights divides the solutions of a task: where weights cost most,
    they are line or point attractors; where activity does, transient sequences that noise disturbs.

    Source: Qian & Pehlevan, arXiv:2610.04697, where the costs are |W|_F^2, the integral of |x|^2 and that of the
    squared adjoint; per unit and per time here (ours), so that weights mean the same in networks of any size.
    """

    Settings = CostsSettings
    capturable = True
    settings: CostsSettings

    def value(
        self,
        rates: Float[Tensor, "network sampled_time trial unit"],
        networks: Networks,
        stored: Stored,
        trials: Int[Tensor, "network trial"],
        valid: Float[Tensor, "network sampled_time trial"] | None,
    ) -> Float[Tensor, "network earlier"]:
        own = self.settings
        total = own.activity * mean_over_samples(rates.square(), valid).mean(-1, keepdim=True)
        if own.weights:
            matrices = recurrent_matrices(networks, "costs.weights", "set it to 0")
            squares = matrices.square().sum((2, 3)).sum(1, keepdim=True)
            total = total + own.weights * squares / rates.shape[-1]
        if own.adjoint_norm:
            noise = AdjointNorm(AdjointNormSettings(trials=own.trials))
            total = total + own.adjoint_norm * noise.value(rates, networks, stored, trials, valid)
        return total
