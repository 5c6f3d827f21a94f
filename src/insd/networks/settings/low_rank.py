"""The settings of rate networks of low rank."""

from collections.abc import Iterator

from insd.networks.settings.rate import RateSettings
from insd.settings.base import Count


class LowRankSettings(RateSettings):
    """Rate networks with recurrent weights of low rank."""

    architecture: str = "low_rank"
    """`low_rank`."""
    rank: Count
    """Rank of the recurrent weights, at most `units`."""

    def problems(self, dt: float, outputs: int) -> Iterator[str]:
        yield from super().problems(dt, outputs)
        if self.rank > self.units:
            yield f"network.rank = {self.rank}: at most network.units = {self.units}"
