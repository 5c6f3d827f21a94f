"""What can be read from networks of chains that a reader was not trained on, by several readers."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr
from jaxtyping import Float

from insd.cohorts import ALTERNATIVE, CONTROL, REFERENCE, STANDARD, UNTRAINED, round_name
from insd.members import Member
from insd.provenance import random_seed
from insd.readers.base import Weights
from insd.readers.fitting import Question, read
from insd.readers.settings.base import Fitting, ReaderSettings

logger = logging.getLogger("insd.readers")

CLASS, SHUFFLED = "class", "class_shuffled"
"""The question which class a network is of, and the same with the answers dealt out at random."""


@dataclass(frozen=True)
class Known:
    """What other analyses of the task found of networks."""

    performance: xr.Dataset
    robustness: xr.Dataset
    fixed_points: xr.Dataset

    def numbers(self, labels: Sequence[str]) -> dict[str, Float[np.ndarray, "network"]]:
        """By question, the numbers of networks, of which only the order counts; NaN of those that are not known.

        hard_loss : mean loss over the regimes harder than `test`.
        noise_loss : mean loss over the levels of private noise.
        stable_points : stable fixed points, over all static inputs.
        """
        harder = [name for name in self.performance["regime"].values if name != "test"]
        points = self.fixed_points["n_stable_fixed_points"].rename(searched_network="network")
        found = {
            "hard_loss": self.performance["loss"].sel(regime=harder).mean("regime"),
            "noise_loss": self.robustness["noise_loss"].mean("noise_level"),
            "stable_points": points.sum("searched_condition").astype(float),
        }
        return {name: values.reindex(network=list(labels)).values for name, values in found.items()}


def class_of(member: Member) -> str:
    """`standard`, which references are too, `alt-1`, `alt-2`, ... or `control`; nothing for untrained networks."""
    if member.role == ALTERNATIVE:
        return round_name(member.round)
    return {STANDARD: STANDARD, REFERENCE: STANDARD, CONTROL: CONTROL}.get(member.role, "")


def questions(
    members: Sequence[Member], chains: Sequence[str], known: Known, parts: int, seed: int
) -> tuple[list[Question], dict[str, str], dict[str, str]]:
    """The questions; by question, the classes, and why it cannot be asked.

    A class of fewer chains than parts is not asked about.
    """
    names = np.array([class_of(member) for member in members])
    several = {
        name: len({chain for chain, own in zip(chains, names, strict=True) if own == name}) >= parts
        for name in sorted(set(names) - {""}, key=lambda name: (name == CONTROL, name != STANDARD, name))
    }
    classes = [name for name, enough in several.items() if enough]
    if left_out := ", ".join(name for name in several if name not in classes):
        logger.warning("%s: %s: fewer than %d chains of solved networks, left out", CLASS, left_out, parts)
    values = np.full(len(members), np.nan)
    for number, name in enumerate(classes):
        values[names == name] = number
    of_class = Question(CLASS, values, max(len(classes), 1))
    found = [of_class, Question(SHUFFLED, of_class.shuffled(seed).values, of_class.classes)]
    few = "" if len(classes) > 1 else f"fewer than two classes have {parts} chains of solved networks"
    why_not = {CLASS: few, SHUFFLED: few}
    for name, numbers in known.numbers([member.label for member in members]).items():
        asked = np.flatnonzero(np.isfinite(numbers)).tolist()
        enough = len({chains[place] for place in asked}) >= parts
        varied = len(np.unique(numbers[asked])) > 1
        if not asked:
            why_not[name] = "known for no solved network"
        elif not enough:
            why_not[name] = f"known for fewer than {parts} chains of solved networks"
        else:
            why_not[name] = "" if varied else "all networks have the same"
        found.append(Question(name, numbers))
    return found, {question.name: ", ".join(classes) if question.classes else "" for question in found}, why_not


def compare(
    task: str,
    members: Sequence[Member],
    references: Mapping[str, str],
    known: Known,
    readers: Mapping[str, tuple[str, ReaderSettings]],
    fitting: Fitting,
    confidence: float,
) -> xr.Dataset:
    """Scores of all readers on all questions, each on networks of chains that it was not trained on.

    Only networks that solve the task and were trained count. A chain is the networks of one seed of all populations
    with the same reference: they share that network.

    Parameters
    ----------
    references : by population, the population of its references.
    readers : by the names of results, the reader's name and its settings.

    Returns
    -------
    score (question, reader) : mean over parts of the area under the ROC curve (classes) or Kendall's tau (numbers).
    interval (question, reader, bound) : of it, over resampled chains.
    part_score (question, reader, part), draws (question, reader, resample) : each part's, and the resampled means;
        resampled alike for all readers, so that differences are paired.
    chance, networks, chains, classes, without_answer (question) : score of chance; sizes; the classes; why there is no
        answer, or nothing.
    """
    trained = [member for member in members if member.role != UNTRAINED]
    solved = [member for member in trained if bool(member.read(["solved"])["solved"])]
    chains = [f"{references[member.population]}/{member.seed}" for member in solved]
    seed = random_seed("readers", task) % 2**31
    asked, classes, why_not = questions(solved, chains, known, fitting.folds, seed)
    networks = {member.label: member.network for member in solved if member.network is not None}
    weights = Weights.of_networks(list(networks.values()), list(networks)) if networks else None
    shape = (len(asked), len(readers))
    score, ends = np.full(shape, np.nan), np.full((*shape, 2), np.nan)
    of_parts, draws = np.full((*shape, fitting.folds), np.nan), np.full((*shape, fitting.resamples), np.nan)
    tail = (1 - confidence) / 2
    for row, question in enumerate(asked):
        if why_not[question.name] or weights is None:
            logger.warning("%s: is not asked: %s", question.name, why_not[question.name])
            continue
        for column, (name, (file, settings)) in enumerate(readers.items()):
            found = read(file, settings, weights, question, chains, fitting, seed)
            score[row, column], of_parts[row, column] = found.score, found.scores
            draws[row, column] = found.draws(fitting.resamples, seed)
            ends[row, column] = np.nanquantile(draws[row, column], [tail, 1 - tail])
            logger.info("%s, %s: %.3f", question.name, name, found.score)
    along = ("question", "reader")
    texts = {"classes": classes, "without_answer": why_not}
    return xr.Dataset(
        {
            "score": (along, score),
            "interval": ((*along, "bound"), ends),
            "part_score": ((*along, "part"), of_parts),
            "draws": ((*along, "resample"), draws),
            "chance": ("question", [0.5 if question.classes else 0.0 for question in asked]),
            "networks": ("question", [len(question.asked) for question in asked]),
            "chains": ("question", [len({chains[place] for place in question.asked}) for question in asked]),
            **{
                name: ("question", np.array([of[question.name] for question in asked], object))
                for name, of in texts.items()
            },
        },
        {"question": [question.name for question in asked], "reader": list(readers), "bound": ["low", "high"]},
    )
