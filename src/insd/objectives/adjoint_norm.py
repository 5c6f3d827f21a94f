"""The sensitivity of outputs to private noise, as a term: solutions that noise does not disturb."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from insd.networks.base import Additive, Networks
from insd.networks.engine.keyed import keyed_normal
from insd.networks.engine.nonlinearity import NONLINEARITIES
from insd.objectives.base import Stored, Term, TermError
from insd.objectives.settings.adjoint_norm import AdjointNormSettings


class AdjointNorm(Term):
    """Variance that private noise adds to the outputs, per variance of the noise at each step, to first order.

    As `insd.evaluation.costs.noise_sensitivity`, but over all outputs until the end of trials: with J the Jacobian of
    the outputs in the noise of all units at all times, ``|J|_F^2 / outputs``, estimated by ``|J^T v|^2`` for one vector
    v of random signs. a = J^T v obeys the adjoint equation backwards in time,

        a_t = (1 - alpha) a_{t+1} + phi'(x_t) (alpha J^T a_{t+1} + W_out^T v_t),

    which asks for the rates and the weights alone: the slopes follow from the rates, and its gradient is that of this
    recursion. The signs follow from the trials of the minibatch.

    For additive rate networks. Source: first-order perturbation theory with the adjoint method; random signs after
    Hutchinson (1990), Communications in Statistics 19:433.
    """

    Settings = AdjointNormSettings
    capturable = True
    settings: AdjointNormSettings

    def value(
        self,
        rates: Float[Tensor, "network sampled_time trial unit"],
        networks: Networks,
        stored: Stored,
        trials: Int[Tensor, "network trial"],
        valid: Float[Tensor, "network sampled_time trial"] | None,
    ) -> Float[Tensor, "network earlier"]:
        if not isinstance(networks, Additive):
            raise TermError(f"terms.adjoint_norm: needs a rate network, not {networks.architecture!r}; leave it out")
        rates = rates[:, :, : self.settings.trials]
        count, times, batch, _ = rates.shape
        outputs = networks.output_weights.shape[1]
        signs = _signs(trials, times * batch * outputs).view(count, times, batch, outputs).to(rates.dtype)
        if valid is not None:
            signs = signs * valid[:, :, :batch, None]
        slopes = NONLINEARITIES[networks.nonlinearity].slopes(rates)
        read = torch.einsum("ntbo,nou->ntbu", signs, networks.output_weights)
        step = networks.alpha * networks.recurrent_weights
        adjoint = torch.zeros_like(rates[:, 0])
        total = torch.zeros_like(rates[:, 0, 0, 0])
        for slope, from_outputs in zip(reversed(slopes.unbind(1)), reversed(read.unbind(1)), strict=True):
            adjoint = (1 - networks.alpha) * adjoint + slope * (torch.bmm(adjoint, step) + from_outputs)
            total = total + adjoint.square().sum((1, 2))
        return (total / signs.square().sum((1, 2, 3)))[:, None]


def _signs(trials: Int[Tensor, "network trial"], count: int) -> Float[Tensor, "network count"]:
    """Random signs for each network, from the first trials of its minibatch alone."""
    # Two odd numbers mix the indices into a key.
    keys = (trials[:, 0] + 1) * 0x9E3779B1 + (trials[:, -1] + 1) * 0x85EBCA77
    return torch.where(keyed_normal(keys, torch.zeros_like(keys[0]), count) < 0, -1.0, 1.0)
