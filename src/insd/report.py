"""What the HTML report shows next to figures: numbers for captions, and tables as pages."""

import html
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from insd.datasets import read_table
from insd.errors import InsdError

STYLE = """\
body { font: 13px sans-serif; margin: 1em; color: #222; background: #fff }
table { border-collapse: collapse }
th, td { padding: 2px 8px; text-align: right; white-space: nowrap; border-bottom: 1px solid #ddd }
td.text, th.text { text-align: left }
td.long { white-space: normal; min-width: 18em }
thead th { position: sticky; top: 0; background: #eee }
"""
"""The style of pages of tables."""
LONG = 40
"""Number of characters above which the text of a cell is wrapped."""


class ReportError(InsdError):
    """A caption quotes a number that no table has; the message names the file and the number."""


@dataclass(frozen=True)
class LiveNumbers:
    """The numbers that captions quote, read from the tables while a report is made.

    A rule whose figure has a caption carries one of these among its `params`, since a caption sees nothing else of the
    workflow. Only its paths are given when the workflow is read: the tables need not be there then, and what they say
    can never be older than they are.
    """

    statements: str
    """Path of `summary.csv`: one row per statement, with its `id`, its text `statement` and one column per task."""
    claims: str
    """Path of `claims.csv`."""
    confidence: float
    """Of the intervals in tables and figures."""

    @property
    def level(self) -> str:
        """The confidence as text has it, such as "95 %"."""
        return f"{100 * self.confidence:g} %"

    def tasks(self) -> list[str]:
        """The tasks with numbers."""
        return [str(name) for name in _read(self.statements).columns if name not in ("id", "statement")]

    def group(self, task: str, *ids: str) -> list[tuple[str, str]]:
        """Statements of a task by their ids, of every group of networks and of every population that has them.

        An id in the table is `[population:]statement[/group]`; `ids` are what is in its middle. As (statement, value),
        in the order of the table, with what reStructuredText could misread escaped. Statements on which a task has no
        value are left out. Raises ReportError if the table knows none of the ids, or not the task.
        """
        table = _read(self.statements)
        if task not in self.tasks():
            raise ReportError(f"{self.statements}: has no task '{task}', only {', '.join(self.tasks())}")
        rows = table[[_middle(name) in ids for name in table["id"]]]
        if rows.empty:
            raise ReportError(
                f"{self.statements}: has no statement on {' or '.join(ids)}; run the rule `summary` again"
            )
        # What a task has no value for reads as NaN.
        return [
            (escaped(text), escaped(value))
            for text, value in zip(rows["statement"], rows[task], strict=True)
            if isinstance(value, str)
        ]

    def verdicts(self, task: str | None = None, ids: Collection[str] | None = None) -> list[tuple[str, str, str]]:
        """Claims on a task, or on all of them, and with some ids, or all: (task and claim, number, verdict)."""
        rows = _read(self.claims)
        if task is not None:
            rows = rows[rows["task"] == task]
        if ids is not None:
            rows = rows[rows["id"].isin(list(ids))]
        return [
            (escaped(f"{row['task'].replace('_', ' ')}: {row['claim']}"), escaped(row["number"]), row["verdict"])
            for row in rows.to_dict("records")
        ]


def _middle(name: str) -> str:
    """The statement of an id, without its population and its group of networks."""
    return name.rpartition(":")[2].partition("/")[0]


def escaped(text: str) -> str:
    """Text in which reStructuredText sees no markup."""
    return re.sub(r"([\\*_|`])", r"\\\1", text)


def table_page(table: pd.DataFrame, title: str, meanings: Mapping[str, str] | None = None) -> str:
    """A table as a page of HTML that needs no other file; numbers at four significant digits.

    `meanings` of columns show under the pointer.
    """
    kinds = ["" if pd.api.types.is_numeric_dtype(table[name]) else "text" for name in table]
    told = {name: f' title="{html.escape(text)}"' for name, text in (meanings or {}).items()}
    head = "".join(
        f'<th class="{kind}"{told.get(str(name), "")}>{html.escape(str(name))}</th>'
        for kind, name in zip(kinds, table, strict=True)
    )
    body = "\n".join(
        "<tr>" + "".join(_cell(value, kind) for value, kind in zip(row, kinds, strict=True)) + "</tr>"
        for row in table.itertuples(index=False)
    )
    return f"""\
<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>{html.escape(title)}</title><style>
{STYLE}</style></head>
<body><h1>{html.escape(title)}</h1>
<table><thead><tr>{head}</tr></thead><tbody>
{body}
</tbody></table></body>
</html>
"""


def _cell(value: object, kind: str) -> str:
    if pd.isna(value):  # type: ignore[call-overload]
        text = ""
    elif isinstance(value, float):
        text = f"{value:.4g}"
    else:
        text = html.escape(str(value))
    long = " long" if len(text) > LONG else ""
    return f'<td class="{kind}{long}">{text}</td>'


def _read(path: str) -> pd.DataFrame:
    if not Path(path).exists():
        raise ReportError(f"{path}: there is no such file, and captions quote it; run the workflow before its report")
    return read_table(path)
