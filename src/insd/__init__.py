"""Iterative Neural Similarity Deflation: networks that solve a task in ways that earlier networks did not.

`insd.compare` compares activity given as arrays; `insd.dynamics.fixed_points_of` finds the fixed points of any step
function. Both are imported when they are first used, so that `import insd` takes no time.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from insd import dynamics as dynamics
    from insd.comparison import compare as compare

_ON_USE = {"compare": "insd.comparison"}


def __getattr__(name: str) -> Any:
    if name in _ON_USE:
        return getattr(importlib.import_module(_ON_USE[name]), name)
    if name == "dynamics":
        return importlib.import_module("insd.dynamics")
    raise AttributeError(f"module 'insd' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_ON_USE, "dynamics"})
