"""The memory that a job of training needs."""

import xarray as xr

from insd.settings.recipe import Recipe


def training_memory(recipe: Recipe, networks: int, earlier: int, trials: int, sample: xr.Dataset) -> int:
    """Memory in MB for a job that trains networks on a bank of trials, which are as those of a sample.

    That of Python and its libraries; the bank, twice; the hidden nodes of the drift of networks with a plane of
    behaviour, of which a minibatch keeps seven numbers for each step; and, where the recipe has terms, one network's
    rates on the bank in four copies, since networks are simulated one by one, and what the term `predictivity` keeps of
    each, at every second time and of hardly more than 24 components, in six copies and, of each earlier round, in two.
    Without terms, the bank once more.

    Fitted to nine jobs of one to ten networks on 2,048 to 24,576 trials, which used 62 to 80 % of it, and seen to hold
    in two more on 196,608 (docs/cluster.md).
    """
    network, steps = recipe.network, sample.sizes["time"]
    hidden, children = getattr(network, "hidden", 0), getattr(network, "branching", 0)
    nodes = hidden + network.units * children * (children + 1)
    bank = trials * sample.nbytes / sample.sizes["trial"]
    rates = 4 * trials * steps * network.units
    kept = 4 * trials * (steps / 2) * min(network.units, 24)
    minibatch = 4 * recipe.training.batch_size * steps * nodes
    activity = 4 * rates + networks * (6 + 2 * earlier) * kept
    used = 2 * bank + networks * 7 * minibatch + (activity if recipe.terms else bank)
    return 700 + int(used / 1e6)
