"""Numbers as they are in the cells of tables in Markdown."""

from typing import Any

import pandas as pd


def cell(value: Any, form: str = ".3g") -> str:
    """A number in a format of Python's; empty where there is none."""
    return "" if pd.isna(value) else f"{value:{form}}"
