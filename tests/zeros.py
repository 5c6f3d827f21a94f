"""Low-rank networks all of whose zeros are known: F vanishes where a map of a few numbers has a fixed point.

``J = M N^T / units``: F(x) = 0 where ``x = M k + d`` with d the constant drive and ``k = N^T tanh(M k + d) / units``.
"""

import itertools

import numpy as np
import scipy.optimize


def independent_memories(count, units, gain):
    """Weights and all 3^count zeros of memories of one bit each, which share no units.

    In a memory's own units, whose weights are ``gain p p^T / size`` with a pattern p of -1 and 1, ``x = c p`` with
    ``c = gain tanh(c)``, which has three roots: -r, 0 and r.
    """
    size = units // count
    signs = np.random.default_rng(count).choice([-1.0, 1.0], size * count)
    patterns = np.kron(np.eye(count), np.ones((size, 1))) * signs[:, None]
    root = scipy.optimize.brentq(lambda x: gain * np.tanh(x) - x, 1e-3, gain + 1)
    zeros = root * np.array(list(itertools.product((-1, 0, 1), repeat=count))) @ patterns.T
    return gain / size * patterns @ patterns.T, zeros


def zeros_by_scan(left, right, drive, cells):
    """All zeros of a network of tanh by a scan of k, and the sum of their indices, which is 1 if none is missed.

    With G(k) the right-hand side above, each cell of a grid in which every component of ``k - G(k)`` changes sign is
    searched from its middle. Since tanh bounds k, the field points inwards at the border of the grid, and the signs of
    the determinants of its Jacobian at all zeros add up to 1 (Poincaré and Hopf).
    """
    units, rank = left.shape

    def rest(points):
        return points - np.tanh(points @ left.T + drive) @ right / units

    def jacobian(point):
        slopes = 1 - np.tanh(left @ point + drive) ** 2
        return np.eye(rank) - (right * slopes[:, None]).T @ left / units

    # A little outside, and not symmetric: no point of the grid is at 0.
    edges = [np.linspace(-1.01 * bound, 1.02 * bound, cells + 1) for bound in np.abs(right).sum(0) / units]
    grid = np.stack(np.meshgrid(*edges, indexing="ij"), -1).reshape(-1, rank)
    values = np.concatenate([rest(part) for part in np.array_split(grid, -(-len(grid) // 10_000))])
    values = values.reshape(*(cells + 1,) * rank, rank)
    corners = np.stack(
        [values[tuple(slice(at, at + cells) for at in corner)] for corner in itertools.product((0, 1), repeat=rank)]
    )
    crossed = np.argwhere(((corners.min(0) < 0) & (corners.max(0) > 0)).all(-1))
    found = []
    for cell in crossed:
        middle = np.array([edge[at : at + 2].mean() for edge, at in zip(edges, cell, strict=True)])
        root = scipy.optimize.root(lambda k: rest(k[None])[0], middle, jac=jacobian, tol=1e-13).x
        if np.abs(rest(root[None])).max() < 1e-11 and all(np.linalg.norm(root - one) > 1e-6 for one in found):
            found.append(root)
    index = sum(np.sign(np.linalg.det(jacobian(root))) for root in found)
    return np.array(found) @ left.T + drive, int(index)
