"""Noise by its key: the words of Philox against those that its authors publish, and normal numbers."""

import numpy as np
import pytest
import scipy.stats
import torch

from insd.networks.engine.keyed import keyed_normal, philox


@pytest.mark.parametrize(
    "counter, key, words",
    [
        ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
    ],
)
def test_words_are_those_of_the_known_answers_of_random123(counter, key, words):
    counter, key = ([torch.tensor(int(word, 16)) for word in text.split()] for text in (counter, key))
    assert [f"{int(word):08x}" for word in philox(counter, key)] == words.split()


def test_numbers_are_normal_and_differ_by_network_draw_and_place():
    keys = torch.tensor([3, 4, -(2**62)])
    drawn = torch.stack([keyed_normal(keys, torch.tensor(draw), 4001) for draw in (0, 1, 2**40)]).double()
    assert scipy.stats.kstest(drawn.flatten(), "norm").pvalue > 0.01
    flat = drawn.flatten(0, 1).numpy()
    correlations = np.corrcoef(np.concatenate([flat, flat[:, ::-1], np.roll(flat, 1, axis=1)]))
    np.fill_diagonal(correlations, 0)
    assert np.abs(correlations).max() < 5 / np.sqrt(4001)
    again = keyed_normal(keys[[1]], torch.tensor(1), 100)
    assert torch.equal(again[0].double(), drawn[1, 1, :100])
