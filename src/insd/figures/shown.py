"""The networks that figures show side by side: a reference and its first alternatives."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from insd.cohorts import alternatives, network_label, network_labels, references, states, trained
from insd.datasets import DatasetError
from insd.figures.theme import groups, is_round_of
from insd.members import Block, Member, read_members
from insd.settings.config import seeds_of

COLUMNS = 3
"""Networks shown side by side: a reference and its first two alternatives."""


@dataclass(frozen=True)
class Shown:
    """A network that the figure shows, and the networks of the group that it represents."""

    label: str
    name: str
    colour: str
    state: str
    """`insd.cohorts.states`."""
    group: list[str]
    """Labels of the solved networks of its group or, where there are none, of all."""


def shown_networks(table: pd.DataFrame, chain: str | None) -> list[Shown]:
    """The networks of one task that are shown side by side.

    Of the deflated population `chain`, the first chain whose networks are all solved, else its first: the reference and
    the first two alternatives. Without deflation, the first solved network, else the first, of the first three trained
    populations, or of the untrained ones if none was trained.
    """
    grouped = groups(table)
    later = [group for group in grouped if chain is not None and is_round_of(group[2], chain)]
    if chain is None or not later:
        known = [group for group in grouped if len(trained(group[2]))] or grouped
        return [_shown(group, _first_solved(group[2])) for group in known[:COLUMNS]]
    labels = set(network_labels(references(table, chain)))
    first = [group for group in grouped if labels & set(network_labels(group[2]))]
    rounds = [*first, *later][:COLUMNS]
    rows = pd.concat([group[2] for group in rounds])
    seeds = sorted(set(alternatives(table, chain)["seed"]))
    all_solved = [seed for seed in seeds if rows.loc[rows["seed"] == seed, "solved"].all()]
    seed = (all_solved or seeds)[0]
    return [_shown(group, group[2][group[2]["seed"] == seed].iloc[0]) for group in rounds]


def _first_solved(rows: pd.DataFrame) -> pd.Series:
    return (rows[rows["solved"]] if rows["solved"].any() else rows).iloc[0]


def _shown(group: tuple[str, str, pd.DataFrame], row: pd.Series) -> Shown:
    name, colour, rows = group
    label = network_label(row["population"], int(row["seed"]), int(row["round"]))
    standing_for = rows[rows["solved"]] if rows["solved"].any() else rows
    return Shown(label, name, colour, str(states(row.to_frame().T)[0]), network_labels(standing_for))


def read_shown(
    shown: Sequence[Shown], networks: Sequence[str], activities: Sequence[str], blocks: Sequence[Block]
) -> dict[str, Member]:
    """The networks that are shown, by label; arguments as of `insd.members.read_members`.

    Raises DatasetError if no file holds a network.
    """
    wanted = [one.label for one in shown]
    # The files of these alone.
    held = [
        (activity, block)
        for activity, block in zip(activities, blocks, strict=True)
        if any(network_label(block[0], seed, block[2]) in wanted for seed in seeds_of(block[1]))
    ]
    members = read_members(networks, [activity for activity, _ in held], [block for _, block in held])
    found = {member.label: member for member in members if member.label in wanted}
    for label in wanted:
        if label not in found:
            raise DatasetError(f"{label}: is in the table of networks, but in none of {', '.join(networks)}")
    return found
