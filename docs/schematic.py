"""Draw the schematic of the method, docs/figures/schematic.svg and .png (`make schematic`)."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Circle, FancyArrowPatch, FancyBboxPatch

from insd.figures.theme import ROUND_HUES

FIGURE = Path(__file__).parent / "figures" / "schematic"
GREY = "#666666"
WIDTH, HEIGHT = 12.0, 6.3
"""Of the drawing, in units of 0.8 inches."""
X = (2.0, 6.0, 10.0)
"""Centres of the three networks."""
NAMES = ("reference (round 0)", "alt-1 (round 1)", "alt-2 (round 2)")
LOSSES = (
    "trained with\ntask loss",
    "trained with\ntask loss + λ S(alt-1 → reference)",
    "trained with\ntask loss + λ [S(alt-2 → reference)\n+ S(alt-2 → alt-1)]",
)


def draw() -> plt.Figure:
    """The schematic."""
    figure = plt.figure(figsize=(0.8 * WIDTH, 0.8 * HEIGHT))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, WIDTH), ylim=(0, HEIGHT), aspect="equal")
    axes.axis("off")
    for number, (x, name, loss) in enumerate(zip(X, NAMES, LOSSES, strict=True)):
        colour = ROUND_HUES[number]
        axes.text(x, 6.05, name, color=colour, ha="center", va="center", weight="bold", size=11)
        network(axes, x, 5.1, colour)
        arrow(axes, (x, 4.45), (x, 4.02))
        activity(axes, x, number, colour)
        axes.text(x, 0.76, loss, ha="center", va="top")
    for later, earlier in ((1, 0), (2, 1)):
        arrow(axes, (X[later] - 1.36, 1.9), (X[earlier] + 1.36, 1.9), ROUND_HUES[later])
        axes.text((X[later] + X[earlier]) / 2, 2.02, "S low", color=ROUND_HUES[later], ha="center", va="bottom")
    arrow(axes, (X[2] - 0.6, 1.27), (X[0] + 0.6, 1.27), ROUND_HUES[2], bend=-0.045)
    axes.text(X[1], 0.94, "S low", color=ROUND_HUES[2], ha="center", va="center")
    return figure


def network(axes: Axes, x: float, y: float, colour: str) -> None:
    """Inputs, recurrent units and outputs."""
    angles = np.linspace(0, 2 * np.pi, 7)[:-1] + 0.3
    places = [(x + 0.48 * np.cos(angle), y + 0.42 * np.sin(angle)) for angle in angles]
    for one in range(6):
        for other in range(one):
            axes.plot(*zip(places[one], places[other], strict=True), color=colour, lw=0.7, alpha=0.35, zorder=1)
    for place in places:
        axes.add_patch(Circle(place, 0.1, facecolor=colour, edgecolor="white", lw=0.8, zorder=2))
    arrow(axes, (x - 1.15, y), (x - 0.68, y))
    arrow(axes, (x + 0.68, y), (x + 1.15, y))
    axes.text(x - 1.2, y, "input", ha="right", va="center", color=GREY)
    axes.text(x + 1.2, y, "output", ha="left", va="center", color=GREY)


def activity(axes: Axes, x: float, number: int, colour: str) -> None:
    """The two parts of activity, each with the sketch of a time course: the first is the same in all networks."""
    axes.text(x, 3.86, "activity, split by the network's own readout", ha="center", va="center", color=GREY, size=8)
    time = np.linspace(0, 1, 200)
    step = np.tanh(18 * (time - 0.35))
    courses = ([step, -0.6 * step], [np.sin(14 * time), np.cos(14 * time)], [np.sin(30 * time), np.cos(30 * time)])
    for top, height, title, lines, own in (
        (3.66, 0.98, "output-potent: fixed by the task", [step], GREY),
        (2.54, 1.22, "null: free to differ", courses[number], colour),
    ):
        box = FancyBboxPatch(
            (x - 1.3, top - height), 2.6, height, boxstyle="round,pad=0,rounding_size=0.08", facecolor="white", ec=own
        )
        axes.add_patch(box)
        axes.text(x, top - 0.17, title, ha="center", va="center", color=own, size=8)
        for line, style in zip(lines, ("-", "--"), strict=False):
            middle = top - 0.3 - (height - 0.4) / 2
            axes.plot(x - 1.15 + 2.3 * time, middle + 0.38 * (height - 0.4) * line, style, color=own, lw=1.2)


def arrow(
    axes: Axes, start: tuple[float, float], end: tuple[float, float], colour: str = GREY, bend: float = 0.0
) -> None:
    """An arrow, curved or not."""
    patch = FancyArrowPatch(
        start, end, arrowstyle="-|>", mutation_scale=11, color=colour, lw=1.3, connectionstyle=f"arc3,rad={bend}"
    )
    axes.add_patch(patch)


if __name__ == "__main__":
    # Letters as paths: a page need not have the font. The same drawing gives the same file.
    with plt.rc_context({"font.size": 9, "svg.fonttype": "path", "svg.hashsalt": "insd"}):
        drawn = draw()
        drawn.savefig(FIGURE.with_suffix(".svg"), metadata={"Date": None})
        drawn.savefig(FIGURE.with_suffix(".png"), dpi=150)
