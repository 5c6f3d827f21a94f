"""Blocks of networks: they cover the grid, are bounded, and stay as they are where others are added."""

from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from insd.blocks import divided, pairs_of, related
from insd.settings.config import seeds_of

Sizes = dict[str, tuple[int, int]]


def rounds(sizes: Sizes) -> list[tuple[str, str, int]]:
    """Rounds of one seed each, by the numbers of seeds and rounds of populations."""
    return [
        (name, str(seed), number)
        for name, (seeds, count) in sorted(sizes.items())
        for seed in range(seeds)
        for number in range(count)
    ]


populations = st.dictionaries(
    st.text("abcdefghij", min_size=1, max_size=3), st.tuples(st.integers(1, 9), st.integers(1, 3)), max_size=12
)


@settings(max_examples=50, deadline=None)
@given(sizes=populations, most=st.integers(1, 40))
def test_every_round_is_in_one_block_of_bounded_size(sizes: Sizes, most: int):
    given_rounds = rounds(sizes)
    blocks = divided(given_rounds, most)
    assert sorted(one for part in blocks.values() for one in part) == sorted(given_rounds)
    assert all(len(part) <= most for part in blocks.values())
    # In the order of the grid, and no name begins another.
    assert all(part == sorted(part, key=given_rounds.index) for part in blocks.values())
    assert not any(related(one, other) for one in blocks for other in blocks if one != other)
    assert list(blocks) == ([""] if len(given_rounds) <= most else sorted(blocks))


@settings(max_examples=50, deadline=None)
@given(sizes=populations, most=st.integers(1, 40))
def test_a_population_that_is_added_changes_or_divides_the_blocks_it_comes_to(sizes: Sizes, most: int):
    before, after = (divided(rounds(one), most) for one in (sizes, sizes | {"new": (5, 1)}))
    if not sizes:
        return
    come_to = {name for name, part in after.items() if any(one[0] == "new" for one in part)}
    changed = [name for name, part in before.items() if after.get(name) != part]
    assert all(any(related(name, one) for one in come_to) for name in changed)
    if most >= 5 and all(len(part) + 5 <= most for part in before.values()):
        # Where there is room, one block, or a new one.
        assert len(come_to) == 1 and len(changed) <= 1


def test_networks_of_one_job_are_not_divided():
    blocks = divided([("a", "0-9", 0), ("a", "10-19", 0)], 4)
    assert sorted(sum(len(seeds_of(seeds)) for _, seeds, _ in part) for part in blocks.values()) == [10, 10]
    assert divided([("a", "0-9", 0)], 4) == {"": [("a", "0-9", 0)]}


def test_many_small_populations_fill_blocks():
    blocks = divided(rounds({f"p{number}": (10, 1) for number in range(60)}), 64)
    assert 600 / 64 <= len(blocks) <= 2 * 600 / 64
    expected: Sequence[tuple[str, str]] = pairs_of(list(blocks))
    assert len(expected) == len(set(expected)) == len(blocks) * (len(blocks) + 1) / 2
