"""Readers are trained on the networks of some chains, and scored on those of others."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy import stats
from torch.nn.functional import cross_entropy, mse_loss

from insd.readers.base import Reader, ReaderError, Weights, make_reader
from insd.readers.settings.base import Fitting, ReaderSettings


@dataclass(frozen=True)
class Question:
    """What is asked of each network."""

    name: str
    values: Float[np.ndarray, "network"]
    """The class (0, 1, ...) or the number of each; NaN of those that are not asked about."""
    classes: int | None = None
    """How many classes there are; None for a number."""

    @property
    def asked(self) -> Int[np.ndarray, "asked"]:
        """Which networks are asked about."""
        return np.flatnonzero(np.isfinite(self.values))

    def shuffled(self, seed: int) -> "Question":
        """The same values, dealt out to the networks at random: nothing can be read then."""
        values, asked = self.values.copy(), self.asked
        values[asked] = np.random.default_rng(seed).permutation(values[asked])
        return replace(self, values=values)

    def score(self, answers: Float[np.ndarray, "network answer"], truth: Float[np.ndarray, "network"]) -> float:
        """Of classes, the mean area under the ROC curve of each class against the rest (of two classes, that area): .5
        is chance. Of numbers, Kendall's tau-b: 0 is chance. NaN where the truth is all the same.
        """
        if self.classes is None:
            return float(stats.kendalltau(answers[:, 0], truth).statistic)
        areas = [roc_area(answers[:, one], truth == one) for one in range(self.classes)]
        return float(np.mean(known)) if (known := [area for area in areas if math.isfinite(area)]) else math.nan


@dataclass(frozen=True)
class Read:
    """The answers of a reader to a question about networks that it was not trained on."""

    question: Question
    """As it was asked, with shuffled values where they were shuffled."""
    answers: Float[np.ndarray, "asked answer"]
    """Of the networks that are asked about: the probability of each class, or one number."""
    folds: Int[np.ndarray, "asked"]
    """The part in which each was held out."""
    chains: Int[np.ndarray, "asked"]
    """The chain of each."""

    @property
    def scores(self) -> Float[np.ndarray, "fold"]:
        """The score on each part."""
        return np.array([self._score(np.flatnonzero(self.folds == fold)) for fold in np.unique(self.folds)])

    def draws(self, resamples: int, seed: int) -> Float[np.ndarray, "resample"]:
        """Mean scores over parts, with the chains of each part resampled with replacement.

        The same seed resamples the same chains for every reader of the same networks, so that differences of draws are
        paired.
        """
        random = np.random.default_rng(seed)
        of_chain = {chain: np.flatnonzero(self.chains == chain) for chain in np.unique(self.chains)}
        parts = [np.unique(self.chains[self.folds == fold]) for fold in np.unique(self.folds)]
        found = np.empty(resamples)
        for draw in range(resamples):
            chosen = [np.concatenate([of_chain[one] for one in random.choice(part, len(part))]) for part in parts]
            found[draw] = _mean([self._score(one) for one in chosen])
        return found

    @property
    def score(self) -> float:
        """The mean score over parts."""
        return _mean(self.scores)

    def _score(self, rows: Int[np.ndarray, "row"]) -> float:
        truth = self.question.values[self.question.asked]
        return self.question.score(self.answers[rows], truth[rows])


def read(
    name: str,
    settings: ReaderSettings,
    networks: Weights,
    question: Question,
    chains: Sequence[str],
    fitting: Fitting,
    seed: int,
    progress: Callable[[str], None] = lambda line: None,
) -> Read:
    """The answers of a reader that is trained on all chains but those of one part, for each part in turn.

    Networks of one chain are never on both sides: a reader that knows a chain's reference would know its alternatives.

    Parameters
    ----------
    chains : the chain of each network.
    seed : of parts, which do not depend on the reader, of its initial parameters and of the order of networks.

    Raises ReaderError where there are not as many values and chains as networks, where values are not classes, where
    there are fewer chains than parts, or where no class has a network for each part.
    """
    if not len(question.values) == len(chains) == len(networks):
        raise ReaderError(
            f"{question.name}: {len(question.values)} values and {len(chains)} chains of {len(networks)} networks; "
            "each network needs one of each"
        )
    asked = question.asked
    if question.classes and not np.isin(question.values[asked], range(question.classes)).all():
        raise ReaderError(f"{question.name}: its values must be 0 to {question.classes - 1}, its classes, or NaN")
    _, numbers = np.unique(np.asarray(chains)[asked], return_inverse=True)
    truth = question.values[asked]
    parts = folds(numbers, truth if question.classes else np.zeros(len(asked)), fitting.folds, seed, question.name)
    own = networks.select(asked)
    answers = np.empty((len(asked), question.classes or 1))
    for part in range(fitting.folds):
        held_out = np.flatnonzero(parts == part)
        training = np.flatnonzero(parts != part)
        reader = fit(name, settings, own.select(training), truth[training], question.classes, fitting, seed + part)
        answers[held_out] = answer(reader, own.select(held_out), question.classes)
        progress(f"{question.name}, {name}: part {part + 1} of {fitting.folds}")
    return Read(question, answers, parts, numbers)


def folds(
    chains: Int[np.ndarray, "network"], strata: Float[np.ndarray, "network"], count: int, seed: int, question: str = ""
) -> Int[np.ndarray, "network"]:
    """The part of each network: chains stay together, and each part has its share of each stratum where it can."""
    from sklearn.model_selection import StratifiedGroupKFold  # noqa: PLC0415 - takes a second, and most need no parts

    if (found := len(np.unique(chains))) < count:
        raise ReaderError(
            f"{question or 'a question'}: is asked of {found} chains, too few for {count} parts; add seeds, or have "
            "fewer parts (analysis.readers.fitting.folds)"
        )
    if (most := int(np.unique(strata, return_counts=True)[1].max())) < count:
        raise ReaderError(
            f"{question or 'a question'}: no class has more than {most} networks, too few for {count} parts; add "
            "seeds, or have fewer parts (analysis.readers.fitting.folds)"
        )
    parts = np.empty(len(chains), dtype=np.int64)
    split = StratifiedGroupKFold(count, shuffle=True, random_state=seed)
    for part, (_, held_out) in enumerate(split.split(chains, strata.astype(np.int64), chains)):
        parts[held_out] = part
    return parts


def fit(
    name: str,
    settings: ReaderSettings,
    networks: Weights,
    truth: Float[np.ndarray, "network"],
    classes: int | None,
    fitting: Fitting,
    seed: int,
) -> Reader:
    """A reader that is trained to answer: by cross-entropy of classes, or squared error of standardised ranks."""
    reader = make_reader(name, settings, networks.sizes, classes or 1, seed)
    reader.prepare(networks)
    stream = torch.Generator().manual_seed(seed)
    if classes is None:
        ranks = stats.rankdata(truth)
        targets = torch.from_numpy((ranks - ranks.mean()) / max(ranks.std(), 1.0)).float()
    else:
        targets = torch.from_numpy(truth.astype(np.int64))
    optimiser = torch.optim.AdamW(reader.parameters(), lr=fitting.step_size, weight_decay=fitting.weight_decay)
    steps = fitting.epochs * math.ceil(len(networks) / fitting.batch)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for _ in range(fitting.epochs):
        for chosen in torch.randperm(len(networks), generator=stream).split(fitting.batch):
            answers = reader(networks.select(chosen))
            wanted = targets[chosen]
            loss = mse_loss(answers[:, 0], wanted) if classes is None else cross_entropy(answers, wanted)
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(reader.parameters(), 1.0)
            optimiser.step()
            schedule.step()
    return reader


def answer(reader: Reader, networks: Weights, classes: int | None) -> Float[np.ndarray, "network answer"]:
    """What a reader says of networks: the probability of each class, or one number."""
    with torch.no_grad():
        answers = reader(networks)
    return (answers if classes is None else answers.softmax(-1)).double().numpy()


def roc_area(scores: Float[np.ndarray, "network"], positive: Float[np.ndarray, "network"] | np.ndarray) -> float:
    """Area under the ROC curve, from ranks; NaN where all or none are positive."""
    of_class = int(positive.sum())
    others = len(positive) - of_class
    if not of_class or not others:
        return math.nan
    return float((stats.rankdata(scores)[positive].sum() - of_class * (of_class + 1) / 2) / (of_class * others))


def _mean(scores: Sequence[float] | np.ndarray) -> float:
    """Of those that are known; NaN where none is."""
    known = np.asarray(scores)[np.isfinite(scores)]
    return float(known.mean()) if len(known) else math.nan
