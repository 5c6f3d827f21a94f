"""Dynamics of networks, under a constant input and as linear operators: tools that write no file.

`fixed_points_of` and `jacobians_of` take any step function; see `insd.dynamics.maps`.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from insd.dynamics.maps import fixed_points_of as fixed_points_of
    from insd.dynamics.maps import jacobians_of as jacobians_of

_ON_USE = ("fixed_points_of", "jacobians_of")


def __getattr__(name: str) -> Any:
    if name in _ON_USE:
        return getattr(importlib.import_module("insd.dynamics.maps"), name)
    raise AttributeError(f"module 'insd.dynamics' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_ON_USE})
