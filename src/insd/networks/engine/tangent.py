"""How outputs of simulated networks change with their weights, to first order: the product of their Jacobian with a
change of the weights, in forward mode.

The Euler step of `insd.networks.engine.bptt`, with rates ``r = phi(x)``, changes by

    dx[t] = (1 - alpha) dx[t-1] + alpha (J dr[t-1] + dJ r[t-1] + dW_in u[t] + db),   dr[t] = phi'(x[t]) dx[t],

and the outputs by ``dy[t] = W_out dr[t] + dW_out r[t] + db_out``. All that the changes of weights drive is one product
over all times and trials, outside the loop. The loop is compiled C on a CPU in single precision
(`insd.networks.engine.loops`), and PyTorch elsewhere.
"""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from insd.networks.engine.bptt import compiled_for, read_out
from insd.networks.engine.nonlinearity import NONLINEARITIES

Change = Callable[[Sequence[Tensor]], Tensor]
"""The first-order change of something (in its shape) from the changes of what it depends on (in theirs)."""


def by_backward_passes(of: Float[Tensor, "*any"], on: Sequence[Tensor]) -> Change:
    """How `of` changes with the tensors `on`, from which PyTorch computed it in operations that it can differentiate
    twice: ``J^T w`` is linear in w, and its derivative in w, towards v, is ``J v`` (Pearlmutter 1994, "Fast exact
    multiplication by the Hessian"). Tensors on which it does not depend change nothing.
    """
    at = torch.zeros_like(of, requires_grad=True)
    settings = {"retain_graph": True, "allow_unused": True, "materialize_grads": True}
    transposed = torch.autograd.grad(of, on, at, create_graph=True, **settings)

    def change(changes: Sequence[Tensor]) -> Tensor:
        return torch.autograd.grad(transposed, at, changes, **settings)[0]

    return change


def of_outputs(
    inputs: Float[Tensor, "network time trial input"],
    recurrent_weights: Float[Tensor, "network unit unit"],
    initial_state: Float[Tensor, "network unit"],
    output_weights: Float[Tensor, "network output unit"],
    rates: Float[Tensor, "network time trial unit"],
    alpha: float,
    nonlinearity: str,
) -> Change:
    """How the outputs of `insd.networks.engine.bptt.simulate_outputs`, without noise, change with its weights: with J,
    W_in, b, the initial state, W_out and b_out, in this order. `rates` are all that it returned.
    """
    phi = NONLINEARITIES[nonlinearity]
    with torch.no_grad():
        # The first rates are those of the initial state.
        all_rates = torch.cat([phi.rates(initial_state)[:, None, None].expand(-1, 1, inputs.shape[2], -1), rates], 1)
        driving = torch.cat([all_rates[:, :-1], inputs], 3).flatten(1, 2)
        # The compiled loop takes all numbers for those of the rates' type.
        step, output_weights = (alpha * recurrent_weights).to(rates), output_weights.detach()
        compiled = compiled_for(rates)
        slopes = None if compiled else phi.slopes(all_rates)

    @torch.no_grad()
    def change(changes: Sequence[Tensor]) -> Float[Tensor, "network time trial output"]:
        of_recurrent, of_input, of_bias, of_initial, of_output, of_output_bias = changes
        of_drive = alpha * torch.cat([of_recurrent, of_input], 2)
        drive = torch.baddbmm((alpha * of_bias)[:, None], driving, of_drive.transpose(1, 2)).view_as(rates)
        if compiled:
            compiled.tangent(drive, step, of_initial.to(rates), all_rates, 1.0 - alpha, phi.number)
        else:
            assert slopes is not None
            _loop(drive, step, of_initial, slopes, 1.0 - alpha)
        of_rates = drive
        return read_out(rates, of_output, of_output_bias) + read_out(of_rates, output_weights, 0 * of_output_bias)

    return change


def _loop(
    drive: Float[Tensor, "network time trial unit"],
    step: Float[Tensor, "network unit unit"],
    of_initial: Float[Tensor, "network unit"],
    slopes: Float[Tensor, "network time_and_first trial unit"],
    keep: float,
) -> None:
    """Turns the change of the drive into that of the rates, in place."""
    transposed = step.transpose(1, 2)
    previous = of_initial[:, None].expand_as(drive[:, 0])
    presynaptic = previous * slopes[:, 0]
    for driven, slope in zip(drive.unbind(1), slopes.unbind(1)[1:], strict=True):
        previous = torch.baddbmm(driven, presynaptic, transposed).add_(previous, alpha=keep)
        presynaptic = torch.mul(previous, slope, out=driven)
