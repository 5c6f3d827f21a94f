"""What a reader must be able to read in a drawn figure: all text at 7 pt or more, on the canvas and apart."""

import itertools
import re
from unittest import mock

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text

SMALLEST = 7.0
"""pt."""
SLACK = 0.8
"""pt at each side of a text that may be in another one: the box of a line is higher than its letters."""


def check_text(figure: Figure) -> list[str]:
    """Draw a figure, check its texts, and return what they say.

    Raises AssertionError, naming the texts, if one is smaller than 7 pt, reaches beyond the canvas or meets another.
    """
    drawn: list[Text] = []
    draw = Text.draw

    def record(text, *arguments, **more):
        if text.get_visible() and text.get_text().strip():
            drawn.append(text)
        return draw(text, *arguments, **more)

    # Only what is drawn counts: axes keep texts of ticks that they do not show. Layouts are made in a first draft.
    figure.canvas.draw()
    with mock.patch.object(Text, "draw", record):
        figure.canvas.draw()
    wrong = [f"{text.get_fontsize():g} pt: {_name(text)}" for text in drawn if text.get_fontsize() < SMALLEST]
    # Exponents and indices of formulas are smaller than what they stand at.
    wrong += [f"small exponent: {_name(text)}" for text in drawn if re.search(r"\$.*[\^_].*\$", text.get_text())]
    boxes = [_corners(text) for text in drawn]
    width, height = figure.canvas.get_width_height()
    scale = figure.dpi / 72
    for text, box in zip(drawn, boxes, strict=True):
        if (box < -SLACK * scale).any() or (box > np.array([width, height]) + SLACK * scale).any():
            wrong.append(f"cut at the edge: {_name(text)}")
    for (one, first), (other, second) in itertools.combinations(zip(drawn, boxes, strict=True), 2):
        if _meet(first, second, 2 * SLACK * scale):
            wrong.append(f"over each other: {_name(one)} and {_name(other)}")
    assert not wrong, "\n".join(wrong)
    return [text.get_text() for text in drawn]


def points(axes: Axes, colour: str | None = None) -> np.ndarray:
    """The values of the points of networks, in the order of the groups; those of one colour if one is given."""
    found = [line for line in axes.lines if line.get_linestyle() == "None" and line.get_marker() == "o"]
    return np.concatenate([line.get_ydata() for line in found if colour in (None, line.get_color())])


def _name(text: Text) -> str:
    return f"{text.get_text()!r} at {np.round(text.get_window_extent().bounds).astype(int).tolist()}"


def _corners(text: Text) -> np.ndarray:
    """The corners of a text in pixels, turned as it is."""
    box = text.get_window_extent()
    angle = np.deg2rad(text.get_rotation())
    cos, sin = np.cos(angle), np.sin(angle)
    if min(abs(cos), abs(sin)) < 1e-6:
        width, height = box.width, box.height
        cos, sin = 1.0, 0.0
    else:
        # Of one line: of its height and, by the box around it, of its width.
        height = text.get_fontsize() * text.figure.dpi / 72 * 1.2
        width = (box.width - height * abs(sin)) / abs(cos)
    middle = np.array([(box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2])
    along, across = np.array([cos, sin]) * width / 2, np.array([-sin, cos]) * height / 2
    return middle + np.array([along + across, along - across, -along - across, -along + across])


def _meet(first: np.ndarray, second: np.ndarray, slack: float) -> bool:
    """Whether two rectangles overlap by more than the slack in every direction (theorem of the separating axis)."""
    for corners in (first, second):
        for edge in np.diff(corners[:3], axis=0):
            axis = edge / max(np.linalg.norm(edge), 1e-9)
            one, other = first @ axis, second @ axis
            if min(one.max(), other.max()) - max(one.min(), other.min()) <= slack:
                return False
    return True
