"""Networks that are trained on a task and on the terms of the objective, from random weights."""

from insd.datasets import read
from insd.makers.base import Job, Made, Maker, Read
from insd.settings.recipe import Recipe


class Train(Maker):
    """Training; later rounds are compared with those before by the terms that do so."""

    description = "Train one round of a population, against the earlier rounds of its seeds, and record its activity."
    writes = ("network", "activity", "history")
    sections = ("network", "training", "terms")
    chains = True
    uses_device = True

    def reads(self, population: str, reference: str, round_number: int) -> tuple[Read, ...]:
        """The activity of all earlier rounds, that of round 0 first."""
        return tuple(Read(population if number else reference, number) for number in range(round_number))

    def architectures(self, recipe: Recipe) -> tuple[str, ...]:
        return (recipe.network.architecture,)

    def memory_mb(self, recipe: Recipe, networks: int) -> int:
        """What a job needs at all, and for each network, whose activity on 2,000 trials is most of it.

        Measured with 100 units: 0.8 GB for one network, 1.3 GB for ten.
        """
        return 1400 + recipe.network.units * networks

    def minutes(self, recipe: Recipe, networks: int) -> int:
        """What all attempts may take at 20 iterations per second and network, and some more.

        From 128 units on, it is fewer iterations: with 512, one core was seen to run 5 in a second.
        """
        times_as_long = max(1.0, recipe.network.units / 128)
        return 10 + int(recipe.training.iterations * (recipe.training.restarts + 1) * networks * times_as_long) // 1200

    def make(self, job: Job) -> Made:
        from insd.activity import record_activity
        from insd.devices import device_of
        from insd.objectives.base import join_earlier, variables_of
        from insd.rounding import with_significant
        from insd.training import train_round

        terms = job.recipe.terms
        stored = [read(file, "kept", variables_of(terms)) for file in job.earlier]
        earlier = join_earlier(terms, stored, job.bank, job.earlier) if stored else None
        network, history = train_round(
            *(job.task, job.bank, job.recipe, job.names, earlier),
            progress_bar=job.progress_bar,
            checkpoint=job.checkpoint,
            device=device_of(job.device),
        )
        activity = record_activity(network, job.task, job.bank, job.test, terms)
        return Made(with_significant(activity), network, history)
