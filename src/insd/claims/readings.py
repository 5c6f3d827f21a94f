"""One reader against others, for claims on what can be read from networks."""

from collections.abc import Sequence

import numpy as np

from insd.claims.base import NO_ANSWER, NOT, PARTLY, REPRODUCED, Answer, Evidence, Interval, interval_text

BASELINES = ("norms", "spectrum")
"""The readers that know sizes or eigenvalues alone."""
NAMES = {"class": "AUC of the class", "hard_loss": "Kendall's tau of the loss in harder regimes"}
"""The scores by question."""


def difference(evidence: Evidence, question: str, first: str, second: str) -> Interval | None:
    """The score of the first reader minus that of the second, with its interval over resampled chains; None where the
    grid does not have both, or no answer to the question.
    """
    result = evidence.analyses.get("readers")
    if result is None or question not in result["question"] or not {first, second} <= set(result["reader"].values):
        return None
    of_question = result.sel(question=question)
    score, draws = (
        of_question[name].sel(reader=first) - of_question[name].sel(reader=second) for name in ("score", "draws")
    )
    if not np.isfinite(score):
        return None
    tail = (1 - evidence.confidence) / 2
    low, high = np.nanquantile(draws.values, [tail, 1 - tail])
    return float(score), float(low), float(high)


def above(evidence: Evidence, question: str, reader: str, others: Sequence[str]) -> Answer:
    """Whether a reader is above others, each by an interval without 0: all of them, some, or none."""
    found = {other: difference(evidence, question, reader, other) for other in others}
    if any(values is None for values in found.values()):
        return f"{' or '.join([reader, *others])} has no answer in this grid", NO_ANSWER
    known = {other: values for other, values in found.items() if values is not None}
    score = float(evidence.analyses["readers"]["score"].sel(question=question, reader=reader))
    own = f"{score:.2f}".replace("-", "−")
    said = ", ".join(f"minus that of {other}: {interval_text(values, 2)}" for other, values in known.items())
    held = [low > 0 for _, low, _ in known.values()]
    verdict = REPRODUCED if all(held) else PARTLY if any(held) else NOT
    return f"{reader}: {NAMES[question]} {own}; {said}", verdict


def criterion(reader: str, others: Sequence[str]) -> str:
    """When `above` is reproduced, and when in part."""
    if len(others) == 1:
        return f"the interval of the score of {reader} minus that of {others[0]} excludes 0 from above"
    return (
        f"the intervals of the score of {reader} minus those of {' and '.join(others)} exclude 0 from above. Partly: "
        "one of them does"
    )
