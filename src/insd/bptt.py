"""Simulation of rate networks and its hand-written gradient (backpropagation through time).

The Euler step of ``tau dx/dt = -x + J r + W_in u + b + noise`` with ``r = tanh(x)`` and ``alpha = dt / tau`` is

    x[t] = (1 - alpha) x[t-1] + alpha (J r[t-1] + W_in u[t] + b) + noise[t].

With ``g[t] = dL/dr[t]``, the gradient with respect to the states runs backwards in time,

    d[t] = (1 - alpha) d[t+1] + (g[t] + alpha J^T d[t+1]) * (1 - r[t]^2),

and every weight gradient is one large matrix product over all times and trials, outside the loop
(Werbos 1990, "Backpropagation through time: what it does and how to do it").

Several networks run side by side along a leading axis. Arrays are (network, time, trial, ...): a time step is a
contiguous (trial, unit) matrix per network, and all times and trials of a network are one matrix without a copy.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable


class _Simulation(torch.autograd.Function):
    @staticmethod
    def forward(ctx, inputs, recurrent_weights, input_weights, bias, initial_state, noise, alpha):
        networks, times, trials, n_inputs = inputs.shape
        units = recurrent_weights.shape[-1]
        keep = 1.0 - alpha

        # The whole external drive in one product; the loop then turns it into the states, in place.
        weights = (alpha * input_weights).transpose(1, 2)
        states = torch.baddbmm((alpha * bias)[:, None], inputs.reshape(networks, times * trials, n_inputs), weights)
        states = states.view(networks, times, trials, units)
        if noise is not None:
            states += noise
        step = (alpha * recurrent_weights).transpose(1, 2)

        # rates[:, 0] belongs to the initial state, so that rates[:, :-1] are the presynaptic rates of all steps.
        rates = inputs.new_empty(networks, times + 1, trials, units)
        rates[:, 0] = torch.tanh(initial_state)[:, None]
        previous = initial_state[:, None].expand(networks, trials, units)
        for t in range(times):
            state = states[:, t]
            state.add_(previous, alpha=keep)
            state.baddbmm_(rates[:, t], step)
            torch.tanh(state, out=rates[:, t + 1])
            previous = state

        ctx.save_for_backward(inputs, recurrent_weights, input_weights, rates)
        ctx.alpha = alpha
        return rates[:, 1:]

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_rates):
        inputs, recurrent_weights, input_weights, rates = ctx.saved_tensors
        alpha, keep = ctx.alpha, 1.0 - ctx.alpha
        networks, times, trials, units = grad_rates.shape

        slopes = 1.0 - rates.square()
        step = alpha * recurrent_weights
        grad_states = grad_rates * slopes[:, 1:]
        previous = grad_states[:, -1]
        for t in range(times - 2, -1, -1):
            current = grad_states[:, t]
            current.addcmul_(torch.bmm(previous, step), slopes[:, t + 1])
            current.add_(previous, alpha=keep)
            previous = current

        flat = grad_states.view(networks, times * trials, units)
        grad_inputs = grad_noise = None
        if ctx.needs_input_grad[0]:
            grad_inputs = torch.bmm(flat, alpha * input_weights).view_as(inputs)
        by_unit = flat.transpose(1, 2)
        grad_recurrent = alpha * torch.bmm(by_unit, rates[:, :-1].reshape(networks, times * trials, units))
        grad_input_weights = alpha * torch.bmm(by_unit, inputs.reshape(networks, times * trials, -1))
        grad_bias = alpha * flat.sum(1)
        first = torch.bmm(previous, step).mul_(slopes[:, 0]).add_(previous, alpha=keep)
        grad_initial_state = first.sum(1)
        if ctx.needs_input_grad[5]:
            grad_noise = grad_states
        return grad_inputs, grad_recurrent, grad_input_weights, grad_bias, grad_initial_state, grad_noise, None


def simulate(
    inputs: Float[Tensor, "network time trial input"],
    recurrent_weights: Float[Tensor, "network unit unit"],
    input_weights: Float[Tensor, "network unit input"],
    bias: Float[Tensor, "network unit"],
    initial_state: Float[Tensor, "network unit"],
    noise: Float[Tensor, "network time trial unit"] | None,
    alpha: float,
) -> Float[Tensor, "network time trial unit"]:
    """Rates of networks driven by their inputs, differentiable in every tensor argument.

    Parameters
    ----------
    inputs : external input ``u``; at least one time step.
    recurrent_weights : ``J``; row = postsynaptic unit, column = presynaptic unit.
    input_weights, bias, initial_state : ``W_in``, ``b`` and the state ``x`` before the first step.
    noise : added to the state at each step as it is (see `RateRNN.draw_noise` for its scale), or None.
    alpha : Euler step over time constant, ``dt / tau``, in (0, 1].

    Returns
    -------
    Rates ``r = tanh(x)`` after each step, dimensionless, in [-1, 1].

    Source: Qian & Pehlevan (2026), the rate RNN of section 2; recursion as in this module's head.
    """
    return _Simulation.apply(inputs, recurrent_weights, input_weights, bias, initial_state, noise, alpha)
