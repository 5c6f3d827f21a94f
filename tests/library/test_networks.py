"""Initial weights, private noise and the readout."""

import math

import numpy as np
import pytest
import torch

from insd.networks import base
from insd.networks.rate import RateRNN
from insd.networks.settings.rate import RateSettings


def streams(count, start=0):
    return [torch.Generator().manual_seed(start + number) for number in range(count)]


def initialise(count=3, gain=1.5, units=200, noise=0.05, start=0, **settings):
    chosen = RateSettings(gain=gain, units=units, recurrent_noise=noise, **settings)
    return RateRNN.initialise(chosen, 4, 2, 0.2, streams(count, start))


def test_initial_weights_have_the_variances_of_the_paper():
    networks = initialise()
    assert networks.recurrent_weights.std().item() == pytest.approx(1.5 / math.sqrt(200), rel=0.02)
    assert networks.input_weights.std().item() == pytest.approx(1 / 2, rel=0.1)
    assert not networks.bias.any() and not networks.initial_state.any()


def test_a_network_depends_on_its_own_stream_alone():
    together, alone = initialise(3), initialise(1, start=2)
    for name, values in alone.weights().items():
        assert torch.equal(together.weights()[name][2:], values)


def test_noise_gives_a_leaky_unit_its_stationary_deviation():
    networks = initialise(1, gain=0.0, units=50, noise=0.1)
    noise = networks.draw_noise(400, 200, streams(1))
    state = torch.zeros(200, 50)
    for step in noise[0]:
        state = 0.8 * state + step
    assert state.std().item() == pytest.approx(0.1 / math.sqrt(1 - 0.2 / 2), rel=0.03)
    assert initialise(noise=0.0).draw_noise(3, 3, streams(3)) is None


def test_readout():
    networks = initialise()
    rates = torch.randn(3, 5, 7, 200)
    outputs = networks.readout(rates).detach().numpy()
    weights, bias = networks.output_weights.detach().numpy(), networks.output_bias.detach().numpy()
    expected = np.einsum("ntbu,nou->ntbo", rates.numpy(), weights) + bias[:, None, None]
    np.testing.assert_allclose(outputs, expected, atol=1e-4)


def test_missing_weights_are_named():
    weights = initialise().weights()
    del weights["bias"]
    with pytest.raises(ValueError, match="weights lack \\['bias'\\]"):
        RateRNN(weights, 0.2, 0.0)


@pytest.mark.parametrize("nonlinearity", ["relu", "softplus"])
def test_initial_weights_are_the_same_for_all_nonlinearities(nonlinearity):
    for name, values in initialise(nonlinearity=nonlinearity).weights().items():
        assert torch.equal(values, initialise().weights()[name])


def test_an_unknown_nonlinearity_is_refused():
    with pytest.raises(ValueError, match="nonlinearity = 'elu': choose from tanh, relu, softplus"):
        RateRNN(initialise().weights(), 0.2, 0.0, "elu")


def test_settings_of_another_architecture_are_refused():
    with pytest.raises(TypeError, match="settings of the architecture 'gru' must be a GRUSettings, not a RateSettings"):
        base.initialise(RateSettings(architecture="gru"), 4, 2, 0.2, streams(1))
