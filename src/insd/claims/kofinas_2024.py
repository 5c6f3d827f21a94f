"""Statements on graph networks over neural graphs, in our words, with criteria that are ours.

Source: Kofinas et al. (2024), "Graph neural networks for learning equivariant representations of neural networks". The
publication has no recurrent networks: how one is a graph is ours. Criteria were fixed before any network of the study
`readers` was trained.
"""

from functools import partial

from insd.claims.base import Claim, Publication
from insd.claims.readings import BASELINES, above, criterion

CLAIMS = Publication(
    citation="Kofinas et al. (2024)",
    source="Kofinas et al. (2024), Graph neural networks for learning equivariant representations of neural networks",
    claims=(
        Claim(
            id="graph_over_equivariant",
            text="Messages over the graph of a network read its class better than equivariant layers do",
            criterion=criterion("graph", ("equivariant",)),
            judge=partial(above, question="class", reader="graph", others=("equivariant",)),
            reads=("readers",),
            intervals=1,
        ),
        Claim(
            id="generalisation_from_graphs",
            text="Messages over the graph of a network predict how it generalises, better than norms and spectra do",
            criterion=criterion("graph", BASELINES),
            judge=partial(above, question="hard_loss", reader="graph", others=BASELINES),
            reads=("readers",),
            intervals=2,
        ),
    ),
)
"""The statements."""
