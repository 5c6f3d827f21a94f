"""Statements on probing recurrent networks, in our words, with criteria that are ours.

Source: Herrmann et al. (2024), "Learning useful representations of recurrent neural network weight matrices". Criteria
were fixed before any network of the study `readers` was trained.
"""

from functools import partial

from insd.claims.base import Claim, Publication
from insd.claims.readings import above, criterion

OF_WEIGHTS = ("equivariant", "graph")
"""The readers of weights."""

CLAIMS = Publication(
    citation="Herrmann et al. (2024)",
    source="Herrmann et al. (2024), Learning useful representations of recurrent neural network weight matrices",
    claims=(
        Claim(
            id="probing_over_weights",
            text="Probes read the class of a network better than its weights do",
            criterion=criterion("probing", OF_WEIGHTS),
            judge=partial(above, question="class", reader="probing", others=OF_WEIGHTS),
            reads=("readers",),
            intervals=2,
        ),
        Claim(
            id="generalisation_from_probes",
            text="Probes predict how a network generalises better than its weights do",
            criterion=criterion("probing", OF_WEIGHTS),
            judge=partial(above, question="hard_loss", reader="probing", others=OF_WEIGHTS),
            reads=("readers",),
            intervals=2,
        ),
        Claim(
            id="interactive_over_fixed",
            text="Probes that depend on the response so far read more than probes that do not",
            criterion=criterion("interactive_probing", ("probing",)),
            judge=partial(above, question="class", reader="interactive_probing", others=("probing",)),
            reads=("readers",),
            intervals=1,
        ),
    ),
)
"""The statements."""
