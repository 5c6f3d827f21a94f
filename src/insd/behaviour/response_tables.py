"""Tables of responses, one trial a row: what `insd errors` reads."""

import csv
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from insd.errors import InsdError


class ResponseTableError(InsdError):
    """A table of responses cannot be used; the message names the file, the line, the fault and the remedy."""


@dataclass(frozen=True)
class Responses:
    """Responses to one of several items, all angles in rad."""

    responses: Float[np.ndarray, "trial"]
    items: Float[np.ndarray, "trial item"]
    """NaN for items that a trial does not have."""
    cued: Int[np.ndarray, "trial"]
    """From 0."""


def read_responses(path: str | Path, degrees: bool = False) -> Responses:
    """The responses in a CSV file with the columns `response`, `cue` and `item_1`, `item_2`, ...

    `cue` is the number of the cued item, from 1. Items that a trial does not have are left empty. Angles go once around
    the circle of what was remembered, in rad, or in degrees. Other columns are ignored.

    Raises ResponseTableError, with the line.
    """
    path = Path(path)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            names = reader.fieldnames = [name.strip() for name in reader.fieldnames or []]
            rows = [(reader.line_num, row) for row in reader]
    except FileNotFoundError:
        raise ResponseTableError(f"{path}: there is no such file") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ResponseTableError(f"{path}: is not a CSV file that can be read ({error})") from None
    numbered = sorted((int(name[5:]), name) for name in names if re.fullmatch(r"item_[0-9]+", name))
    if [number for number, _ in numbered] != list(range(1, len(numbered) + 1)):
        raise ResponseTableError(
            f"{path}: the columns of items must be item_1, item_2, ..., each once and without gaps"
        )
    needed = ("response", "cue", "item_1")
    if missing := [name for name in needed if name not in names]:
        raise ResponseTableError(
            f"{path}: has no column {', '.join(missing)}; needed are response, cue and item_1, item_2, ...; "
            f"the file has: {', '.join(names) or 'none'}"
            + (" (columns are separated by commas)" if len(names) == 1 else "")
        )
    if twice := [name for name in needed if names.count(name) > 1]:
        raise ResponseTableError(f"{path}: has more than one column {', '.join(twice)}; remove all but one")
    if not rows:
        raise ResponseTableError(f"{path}: has no row; each trial is one")
    columns = [name for _, name in numbered]
    scale = np.pi / 180 if degrees else 1.0
    angles = np.full((len(rows), len(columns) + 1), np.nan)
    cued = np.zeros(len(rows), dtype=int)
    for trial, (line, row) in enumerate(rows):
        if None in row:
            raise ResponseTableError(
                f"{path}, line {line}: has more cells than the header has columns; numbers need a decimal point, and "
                "text with a comma needs quotes"
            )
        for column, name in enumerate(["response", *columns]):
            text = (row[name] or "").strip()
            if text or name == "response":
                angles[trial, column] = _angle(text, f"{path}, line {line}, {name}", degrees) * scale
        cue = (row["cue"] or "").strip()
        if not re.fullmatch("[0-9]+", cue) or not 1 <= int(cue) <= len(columns):
            raise ResponseTableError(
                f"{path}, line {line}, cue = {cue!r}: must be the number of an item, 1 to {len(columns)}"
            )
        cued[trial] = int(cue) - 1
        if np.isnan(angles[trial, int(cue)]):
            raise ResponseTableError(f"{path}, line {line}: item_{cue} is cued, but has no angle")
    return Responses(angles[:, 0], angles[:, 1:], cued)


def _angle(text: str, where: str, degrees: bool) -> float:
    """An angle as a table gives it."""
    try:
        angle = float(text)
    except ValueError:
        raise ResponseTableError(f"{where} = {text!r}: must be a number; leave out trials without a response") from None
    if not np.isfinite(angle):
        raise ResponseTableError(f"{where} = {text!r}: must be finite; leave out trials without a response")
    if abs(angle) > (360 if degrees else 2 * np.pi) * (1 + 1e-6):
        remedy = "wrap it around the circle" if degrees else "give --degrees if angles are in degrees"
        raise ResponseTableError(f"{where} = {text}: is more than one turn; {remedy}")
    return angle
