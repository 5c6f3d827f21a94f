"""Whether alternatives exist that do better than standards where it is hard: the criterion, fixed before any number was
looked at (docs/analyses/hard_cells.md)."""

from dataclasses import dataclass

import pandas as pd

from insd.cohorts import matched

REPRODUCED, PARTLY, NOT, NO_ANSWER = "reproduced", "partly", "not", "no answer"
"""The verdicts."""
HALF = 0.5
"""Share of the chains that the criterion asks for."""


@dataclass(frozen=True)
class Existence:
    """What the networks of one round, one per chain, win in hard cells, and the verdict."""

    chains: int
    cells: int
    """Hard cells of the round; 0 without any."""
    winning: int
    """Chains whose network wins in at least one cell: its score is better than that of the standard at the 90th
    percentile, and its errors are smaller, paired, after Holm's correction (`insd.analysis.hard_cells.won`)."""
    matched: int
    """Chains whose network is matched with the standards in distribution."""
    both: int
    verdict: str
    """"reproduced" if at least half of the chains are both; "partly" if some are, or at least half win; otherwise
    "not". "no answer" without chains or cells."""


def winning(rows: pd.DataFrame) -> pd.Series:
    """Whether each network of `networks.csv` wins in at least one hard cell; not, without any."""
    return rows["hard_cells_won"].astype(float) > 0


def existence(rows: pd.DataFrame) -> Existence:
    """The criterion of existence for the rows of `networks.csv` of one round, one per chain, solved or not."""
    cells = rows["hard_cells"].astype(float).fillna(0).max() if len(rows) else 0
    wins, level = winning(rows), matched(rows)
    both, least = int((wins & level).sum()), HALF * len(rows)
    if not cells:
        verdict = NO_ANSWER
    elif both >= least:
        verdict = REPRODUCED
    else:
        verdict = PARTLY if both or wins.sum() >= least else NOT
    return Existence(len(rows), int(cells), int(wins.sum()), int(level.sum()), both, verdict)
