"""Blocks of networks: pairs of many networks are compared in one job per pair of blocks, which reads these two."""

import hashlib
from collections.abc import Sequence

from insd.settings.config import seeds_of

Round = tuple[str, str, int]
"""Population, seeds and round of a job that makes networks."""
DIGITS = 12
"""Binary digits by which populations are divided, before the networks of one of them are."""


def divided(rounds: Sequence[Round], most: int) -> dict[str, list[Round]]:
    """The rounds of a task in blocks of at most `most` networks, by name, each in the given order.

    They are the leaves of a binary tree. Rounds that are too many for a block are divided in two by the first binary
    digit of a digest of their population's name, each part that still is by the next digit, and so on; at last the
    rounds of a population, by digests of their seeds and numbers. So a population that is added changes the block that
    it comes to, or divides it, and no other. A block is named by its digits, which begin with those of the block that
    it was divided from; the name is empty where there is one block. A round of more networks is a block of its own.
    """
    keys = {one: _digits(one[0])[:DIGITS] + _digits(f"{one[1]}/{one[2]}") for one in rounds}
    found: dict[str, list[Round]] = {}
    waiting = [("", list(rounds))]
    while waiting:
        name, part = waiting.pop()
        if len(part) == 1 or sum(len(seeds_of(seeds)) for _, seeds, _ in part) <= most:
            found[name] = part
            continue
        for digit in "10":
            if chosen := [one for one in part if keys[one][len(name)] == digit]:
                waiting.append((name + digit, chosen))
    return found


def pairs_of(blocks: Sequence[str]) -> list[tuple[str, str]]:
    """All pairs of blocks, each with itself first: what it keeps of its networks serves its pairs with others."""
    return [(one, one) for one in blocks] + [
        (one, other) for number, one in enumerate(blocks) for other in blocks[number + 1 :]
    ]


def related(one: str, other: str) -> bool:
    """Whether one of two blocks was divided from the other, or they are the same: they may share networks."""
    return one.startswith(other) or other.startswith(one)


def _digits(text: str) -> str:
    return format(int.from_bytes(hashlib.sha256(text.encode()).digest(), "big"), "0256b")
