"""The trials of iterations: the same however far ahead they are drawn, and from where a checkpoint left off."""

import torch

from insd.minibatches import Minibatches


def minibatches(**options):
    streams = [torch.Generator().manual_seed(seed) for seed in range(3)]
    return Minibatches(streams, 20, 6, **options)


def test_trials_of_each_network_without_repeats():
    taken = minibatches().take()
    assert taken.shape == (3, 6)
    assert all(len(set(row)) == 6 and set(row) <= set(range(20)) for row in taken.tolist())
    streams = [torch.Generator().manual_seed(seed) for seed in range(3)]
    assert torch.equal(taken, torch.stack([torch.randperm(20, generator=stream)[:6] for stream in streams]))


def test_drawn_ahead_they_are_the_same():
    at_once, ahead = minibatches(), minibatches(ahead=4)
    for _ in range(13):
        assert torch.equal(at_once.take(), ahead.take())


def test_a_state_is_continued_however_it_was_left():
    for first, second in (({}, {"ahead": 4}), ({"ahead": 4}, {}), ({"ahead": 4}, {"ahead": 4})):
        left = minibatches(**first)
        for _ in range(8):
            left.take()
        resumed = minibatches(**second)
        resumed.load_state(left.state())
        for _ in range(5):
            assert torch.equal(resumed.take(), left.take())


def test_a_state_before_anything_is_taken():
    resumed = minibatches(ahead=4)
    resumed.load_state(minibatches(ahead=4).state())
    assert torch.equal(resumed.take(), minibatches().take())
