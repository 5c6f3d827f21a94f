"""How well each reader answers each question about networks of chains that it was not trained on."""

from textwrap import fill

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from insd.figures import base
from insd.figures.theme import MANY_HUES, TWO_COLUMNS, interval_key, key, letters, new_figure, note

PANELS = {
    "class": "class of network,\narea under the ROC curve",
    "hard_loss": "loss in harder regimes,\nKendall's τ",
    "noise_loss": "loss with private noise,\nKendall's τ",
    "stable_points": "stable points,\nKendall's τ",
}
"""The questions, with the labels of their scores."""
SHUFFLED = "class_shuffled"
"""The question of the first panel with classes dealt out at random."""


def readers_figure(result: xr.Dataset, confidence: float) -> Figure:
    """One panel per question: the score of each reader with its interval over chains, and that of chance, dashed.

    Small points are the parts of chains that were held out. In the first panel, crosses are scores with classes dealt
    out at random. `result` is `readers.nc`.
    """
    figure = new_figure(TWO_COLUMNS, 62.0)
    axes = np.asarray(figure.subplots(1, len(PANELS), sharey=True))
    names = result["reader"].values.tolist()
    places = np.arange(len(names))
    colours = [MANY_HUES[place % len(MANY_HUES)] for place in places]
    for panel, (question, label) in zip(axes, PANELS.items(), strict=True):
        own = result.sel(question=question)
        panel.set_xlabel(label)
        if str(own["without_answer"].item()):
            note(panel, fill(str(own["without_answer"].item()), 26))
            panel.set_xticks([])
            continue
        panel.axvline(float(own["chance"]), color="0.6", linestyle="--", linewidth=0.6)
        for place, colour in zip(places, colours, strict=True):
            reader = own.isel(reader=place)
            parts = reader["part_score"].values
            panel.plot(parts, np.full(len(parts), place), ".", color=colour, markersize=2, alpha=0.5)
            panel.hlines(place, *reader["interval"].values, color=colour, linewidth=1.0)
            panel.plot(float(reader["score"]), place, "o", color=colour, markersize=4)
        if question == "class":
            panel.plot(result["score"].sel(question=SHUFFLED), places, "x", color="0.3", markersize=3)
    axes[0].set_yticks(places, [name.replace("_", " ") for name in names])
    axes[0].invert_yaxis()
    letters(axes.flat)
    handles = [
        key("mean over parts", color="0.3", marker="o", linestyle="", markersize=4),
        key("one part", color="0.3", marker=".", linestyle="", markersize=3),
        key("classes dealt out at random", color="0.3", marker="x", linestyle="", markersize=3),
        key("chance", color="0.6", linestyle="--"),
        interval_key(confidence),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, handletextpad=0.4, columnspacing=1.2)
    return figure


def draw(drawing: base.Drawing) -> Figure:
    """The figure, from the file that it reads."""
    return readers_figure(drawing.dataset("analysis/readers"), drawing.confidence)


FIGURE = base.Figure(
    title="readers",
    description="what readers of weights and of responses say of networks of chains that they were not trained on, "
    "next to baselines and chance (for tasks with the analysis `readers`, as in `config/studies/readers.yaml`)",
    per="task",
    reads=("analysis/readers",),
    uses=("confidence",),
    draw=draw,
)
"""What the workflow knows of this figure."""
