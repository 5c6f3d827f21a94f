"""The builds of the compiled code that this processor can run or emulate, as a fixture."""

import pytest
from emulated import AVAILABLE, MISSING, EmulatedLoops

from insd.networks.engine import bptt
from insd.networks.engine.loops import BUILDS, CompiledLoops, instructions, load

RUNNABLE = {"AVX512": ("AVX512", "AVX2"), "AVX2": ("AVX2",), "NEON": ("NEON",)}.get(instructions(), ())


@pytest.fixture(scope="session")
def emulated(tmp_path_factory):
    """The build for ARM on another processor."""
    if not AVAILABLE:
        pytest.skip(MISSING)
    return CompiledLoops(EmulatedLoops(tmp_path_factory.mktemp("emulated")))


@pytest.fixture(params=dict.fromkeys((*RUNNABLE, "NEON")))
def build(request, monkeypatch):
    """Lets networks and penalties use one build."""
    compiled = load(BUILDS[request.param]) if request.param in RUNNABLE else request.getfixturevalue("emulated")
    if compiled is None:
        pytest.skip(f"{request.param} was not built: there was no C compiler when the package was installed")
    monkeypatch.setattr(bptt, "COMPILED", compiled)
    return compiled
