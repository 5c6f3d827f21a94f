"""The section on a GPU of the benchmarks' page, from the rows that were measured."""

from collections.abc import Mapping, Sequence
from typing import Any

from common import Bound, table, verdicts
from training import BATCH, STEPS

TOLERANCE = 1e-5
"""Largest difference from the CPU's numbers in double precision, relative to the largest of them."""
OURS, GRAPH = "one kernel", "graph"
"""The loop over time as one kernel, and as a CUDA graph of one kernel or more for each step."""
DEFLATED = 24, 5
"""Networks that are deflated: those of the bound, and those of a chain of the paper's grid."""
Row = dict[str, Any]


def merged(rows: Sequence[Row]) -> list[Row]:
    """The rows of the last card, of each section those that were measured last."""
    sections: dict[str, list[Row]] = {}
    card, name, current = None, "", []
    for row in rows:
        if row["kind"] == "section":
            if current:  # one that was stopped, which has no row with its time
                sections[name] = current
            name, current = row["what"], []
        if row["kind"] == "machine" and row["gpu"] != card:
            sections, card = {}, row["gpu"]
        current.append(row)
        if row["kind"] == "time":
            sections[row["what"]], name, current = current, "", []
    if current:
        sections[name] = current
    return [row for part in sections.values() for row in part]


def page(rows: Sequence[Row]) -> str:
    """The section, from rows as they are in the file."""
    of = {kind: [row for row in rows if row["kind"] == kind] for kind in {row["kind"] for row in rows}}
    if "machine" not in of:
        return "Nothing was measured: " + "; ".join(row["reason"] for row in of.get("failed", []))
    (machine,) = of["machine"]
    text = (
        f"{machine['gpu']}, torch {machine['torch']}, Triton {machine['triton']}. {BATCH} trials of {STEPS} steps of "
        f"the 3-bit flip-flop; one core of that machine, {machine['loops']} compiled loops, takes "
        f"{machine['core_ms']:.1f} ms for an iteration of one network of 100 units. Single "
        f"precision: TF32 is {'off' if machine['exact'] else 'on'}. *{OURS}* is the loop "
        f"over time as one kernel and the iteration as one CUDA graph; *{GRAPH}* is the loop over time as a CUDA graph "
        "of a few kernels for each step, which runs where Triton is not installed and for larger networks.\n\n"
    )
    plain = {(row["networks"], row["units"], row["by"]): row for row in of.get("iteration", [])}
    keys = sorted({key[:2] for key in plain}, key=lambda key: (key[1] != 100, key[1], key[0]))
    shown = []
    for networks, units in keys:
        kinds = [row for (*key, by), row in plain.items() if key == [networks, units] and by.startswith(OURS)]
        ours_, graph = min(kinds, key=lambda row: row["ms"], default={}), plain.get((networks, units, GRAPH), {})
        best = min(row["ms"] for row in (ours_, graph) if row)
        cores = f"{networks * machine['core_ms'] / best:.0f}" if units == 100 else ""
        shown.append([networks, units, _ms(ours_), _ms(graph), cores, _memory(ours_ or graph)])
    head = ["networks", "units", f"ms per iteration, {OURS}", f"ms, {GRAPH}", "cores that it stands for", "MB"]
    text += table(head, shown) + "\n"
    parts = {(row["what"], row["networks"]): row for row in of.get("part", [])}
    names = list(dict.fromkeys(name for name, _ in parts))
    peers = {(row["what"], row["networks"]): row for row in of.get("peer", [])}
    names_of_peers = list(dict.fromkeys(name for name, _ in peers))
    text += "Its parts, the products alone, and the iteration of other tools:\n\n" + table(
        ["", "ms, 40 networks", "ms, 400 networks"],
        [[name, *(_ms(parts.get((name, count), {})) for count in (40, 400))] for name in names]
        + [[name, *(_ms(peers.get((name, count), {})) for count in (40, 400))] for name in names_of_peers],
    )
    if "deflated" in of:
        text += "\nAgainst two earlier networks:\n\n" + _deflated_table(of)
    if "penalty setting" in of:
        text += f"\nS and its gradient of {DEFLATED[0]} networks, with kernels divided in a different way:\n\n" + table(
            ["setting", "ms"],
            [
                [
                    ", ".join(f"{name} = {value}" for name, value in row["setting"].items()),
                    f"{row['ms'][0]:.2f}, {row['ms'][1]:.2f}",
                ]
                for row in of["penalty setting"]
            ],
        )
    if "setting" in of:
        text += "\nForward and backward of 400 networks, by how the loops are divided:\n\n" + table(
            ["trials of a program", "warps", "ms"],
            [[row["trials"], row["warps"], ", ".join(f"{ms:.2f}" for ms in row["ms"])] for row in of["setting"]],
        )
    return text + "\n" + verdicts(_bounds(of, plain)) + _failures(of)


def _deflated_table(of: Mapping[str, Sequence[Row]]) -> str:
    """Iterations without earlier networks and against two, and what the penalty takes of them."""
    times = {(row["networks"], row["earlier"], row["by"]): _ms(row) for row in of["deflated"]}
    parts = {(row["networks"], row["what"]): _ms(row) for row in of.get("penalty", [])}
    more = {(row["kind"], row["networks"], row["earlier"]): _ms(row) for row in of.get("replayed", [])}
    more |= {(row["kind"], row["networks"], row["earlier"]): _ms(row) for row in of.get("evaluated", [])}
    networks = sorted({key[0] for key in times})
    shown = [
        [f"{what}, {by}", *(times.get((count, earlier, by), "") for count in networks)]
        for by in (OURS, GRAPH)
        for earlier, what in ((0, "plain iteration"), (2, "deflated iteration"))
    ]
    for kind, what in (("replayed", "on the card alone"), ("evaluated", "evaluation")):
        shown += [
            [f"{which}, {what}", *(more.get((kind, count, earlier), "") for count in networks)]
            for earlier, which in ((0, "plain"), (2, "deflated"))
        ]
    names = list(dict.fromkeys(what for _, what in parts))
    shown += [[what, *(parts.get((count, what), "") for count in networks)] for what in names]
    return table(["", *(f"ms, {count} networks" for count in networks)], shown)


def _memory(row: Row) -> str:
    return f"{row['memory']:.0f}" if "memory" in row else ""


def _ms(row: Row) -> str:
    return f"{row['ms']:.2f}" if "ms" in row else ""


def _bounds(of: Mapping[str, Sequence[Row]], plain: Mapping[tuple[int, int, str], Row]) -> list[Bound]:
    bounds = []
    for networks, most in ((40, 2.0), (400, 10.0)):
        row = plain.get((networks, 100, OURS))
        what = f"an iteration of {networks} networks in at most {most:.0f} ms"
        bounds.append(Bound(what, _ms(row or {}), row and row["ms"] <= most))
    mine = [row for row in of.get("deflated", []) if row["by"] == OURS and row["networks"] == DEFLATED[0]]
    deflated = {row["earlier"]: row["ms"] for row in mine}
    if len(deflated) == 2:
        ratio = deflated[2] / deflated[0]
        shown = f"{ratio:.2f} ({deflated[2]:.2f} and {deflated[0]:.2f} ms)"
        bounds.append(
            Bound("24 networks against two earlier ones in at most 1.5 plain iterations", shown, ratio <= 1.5)
        )
    for row in of.get("solved", []):
        what = "40 networks, 1,500 iterations, in less than 20 s"
        bounds.append(Bound(what, f"{row['seconds']:.1f} s, {row['solved']} solved", row["seconds"] < 20))
    for row in of.get("grid", []):
        done = of.get("job", [])
        seconds = sum(job["seconds"] for job in done)
        whole = len(done) == row["jobs"]
        what = f"training of the paper's grid ({row['jobs']} jobs) in at most 60 s"
        bounds.append(Bound(what, f"{seconds:.0f} s for {len(done)} jobs", seconds <= 60 and whole))
    for of_penalty, kind, first in ((False, "of the loop over time", "outputs"), (True, "of S", "S")):
        equal = [row for row in of.get("equal", []) if row["by"] == OURS and ("what" in row) == of_penalty]
        if equal:
            found = [max(row[name] for row in equal) for name in ("outputs", "gradient")]
            what = f"numbers {kind} equal to the CPU's to {TOLERANCE:.0e} of the largest"
            bounds.append(Bound(what, f"{first} {found[0]:.1e}, gradients {found[1]:.1e}", max(found) <= TOLERANCE))
    return bounds


def _failures(of: Mapping[str, Sequence[Row]]) -> str:
    failed = [f"- `{row['what']}`: {row['reason']}\n" for row in of.get("failed", [])]
    return "\nNot measured to the end:\n\n" + "".join(failed) if failed else ""
