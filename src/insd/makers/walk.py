"""Walks from trained networks, at a loss that stays as it is, to other solutions of the same task."""

from typing import Annotated, Literal

from pydantic import Field

from insd.datasets import read
from insd.makers.base import Job, Made, Maker, Read
from insd.settings.base import Count, Positive, Section
from insd.settings.recipe import Recipe


class WalkSettings(Section):
    """Walks from round 0, which is any network; every later round is one, against all rounds before it. The ceiling of
    the loss is `training.loss_bound`, on the held-out trials."""

    steered: bool = True
    """Whether steps go down the terms of the recipe, each times its `multiplier`; `false`: in one random direction."""
    keeps: Literal["task", "function"] = "task"
    """The loss that is kept: `task`, the task loss; `function`, the same distance from the outputs of the anchor."""
    steps: Count = 100
    """Steps of the walk."""
    step: Annotated[float, Field(gt=0, le=1)] = 0.03
    """Length of a step, at most, as a share of the norm of all weights of the anchor."""
    flatness: Positive = 1e-4
    """Curvature above which directions are left out, as a share of the largest eigenvalue of the Gauss-Newton
    matrix."""
    iterations: Count = 80
    """Most conjugate-gradient iterations of the projection on flat directions."""
    restoring: Count = 4
    """Most restoring steps after a step, which are taken while the loss is nearer to the ceiling than to the
    anchor's."""


class Walk(Maker):
    """Hessian null-space continuation, HNC (arXiv 2609.38081), undirected or steered by the terms of the objective."""

    description = "Walk from the network of round 0 at a loss below a ceiling, and record the activity of the end."
    Settings = WalkSettings
    writes = ("network", "activity", "history")
    sections = ("training", "terms")
    chains = True
    settings: WalkSettings

    def reads(self, population: str, reference: str, round_number: int) -> tuple[Read, ...]:
        """The network of round 0, and the activity of all earlier rounds."""
        rounds = [Read(population if number else reference, number) for number in range(round_number)]
        return (Read(reference, 0, ("network",)), *rounds)

    def architectures(self, recipe: Recipe) -> tuple[str, ...]:
        """Those that anchors may be of."""
        return ("gru", "low_rank", "rate")

    def memory_mb(self, recipe: Recipe, networks: int) -> int:
        """What a job needs at all, and the graph of the products, which is of one network at a time."""
        return 2000 + 10 * recipe.training.batch_size + 100 * networks

    def minutes(self, recipe: Recipe, networks: int) -> int:
        """What all steps may take, each with all its tries, at 15 products per second."""
        products = self.settings.iterations + 80 * self.settings.restoring
        return 10 + self.settings.steps * products * networks // 900

    def make(self, job: Job) -> Made:
        from insd.activity import record_activity
        from insd.objectives.base import join_earlier, variables_of
        from insd.rounding import with_significant
        from insd.walks import walk_round

        terms, (anchor, *rounds) = job.recipe.terms, job.earlier
        seeds = [name[2] for name in job.names]
        read_of_terms = variables_of(terms)
        stored = [read(file, "kept", read_of_terms).sel(seed=seeds) for file in rounds] if read_of_terms else []
        network, history = walk_round(
            *(job.task, job.bank, job.recipe, self.settings, job.names, read(anchor, "network").sel(seed=seeds)),
            join_earlier(terms, stored, job.bank, rounds),
            progress_bar=job.progress_bar,
            checkpoint=job.checkpoint,
        )
        activity = record_activity(network, job.task, job.bank, job.test, terms)
        return Made(with_significant(activity), network, history)
