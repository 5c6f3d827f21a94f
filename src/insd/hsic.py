"""The unbiased estimator of the Hilbert-Schmidt independence criterion for linear kernels, of which CKA is made."""

from typing import Any


def unbiased_hsic(squares: Any, norms: Any, other_norms: Any, count: Any) -> Any:
    """``|X^T Y|^2 - n / (n - 2) k.l + sum(k) sum(l) / ((n - 1)(n - 2))`` for centred X and Y of n samples.

    It leaves out the diagonals of the kernels. Of arrays or tensors alike, for one pair or several at once.

    Parameters
    ----------
    squares : (*pair), ``|X^T Y|^2`` in the Frobenius norm.
    norms, other_norms : (*pair, sample), the squared norms k and l of each sample; zero at samples that do not count.
    count : (*pair), the number n of samples that count.

    Source: Song et al. (2012), "Feature selection via dependence maximization", eq. 5, of centred activity.
    """
    both = (norms * other_norms).sum(-1)
    return squares - count / (count - 2) * both + norms.sum(-1) * other_norms.sum(-1) / ((count - 1) * (count - 2))
