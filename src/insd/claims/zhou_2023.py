"""Statements on permutation-equivariant functionals of weights, in our words, with criteria that are ours.

Source: Zhou et al. (2023), "Permutation equivariant neural functionals". The publication reads feed-forward and
convolutional networks, and predicts their generalisation; that it should hold for recurrent weights, and the question
of the class, are ours. Criteria were fixed before any network of the study `readers` was trained.
"""

from functools import partial

from insd.claims.base import Claim, Publication
from insd.claims.readings import BASELINES, above, criterion

CLAIMS = Publication(
    citation="Zhou et al. (2023)",
    source="Zhou et al. (2023), Permutation equivariant neural functionals",
    claims=(
        Claim(
            id="class_from_weights",
            text="Equivariant layers read the class of a network from its weights, better than norms and spectra do",
            criterion=criterion("equivariant", BASELINES),
            judge=partial(above, question="class", reader="equivariant", others=BASELINES),
            reads=("readers",),
            intervals=2,
        ),
        Claim(
            id="generalisation_from_weights",
            text="Equivariant layers predict from weights how networks generalise, better than norms and spectra do",
            criterion=criterion("equivariant", BASELINES),
            judge=partial(above, question="hard_loss", reader="equivariant", others=BASELINES),
            reads=("readers",),
            intervals=2,
        ),
        Claim(
            id="symmetry_helps",
            text="A perceptron of all weights, which does not know that units have no order, reads less",
            criterion=criterion("equivariant", ("raw_weights",)),
            judge=partial(above, question="class", reader="equivariant", others=("raw_weights",)),
            reads=("readers",),
            intervals=1,
        ),
    ),
)
"""The statements."""
