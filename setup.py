"""What pyproject.toml cannot say: which builds of the compiled loops the machine has a use for."""

import sysconfig

from setuptools import Extension, setup

ENGINE = "src/insd/networks/engine"
# By the processor, each with the options of GCC and Clang for its instructions.
INSTRUCTIONS = {
    "x86_64": {"avx512": ["-mavx512f"], "avx2": ["-mavx2", "-mfma"]},
    "arm64": {"neon": []},
}


def builds(platform: str) -> list[Extension]:
    """The builds of the C code for a platform. Where they cannot be made, the package is installed without them."""
    # Python for macOS may be for both processors, and then compiles for both at once.
    both = platform.endswith("universal2")
    processor = "arm64" if platform.endswith(("arm64", "aarch64")) else "x86_64"
    return [
        Extension(
            f"insd.networks.engine.loops_{instructions}",
            [f"{ENGINE}/loops.c", f"{ENGINE}/penalty.c"],
            depends=[f"{ENGINE}/vectors.h"],
            extra_compile_args=[
                "-O3",
                *(part for option in options for part in (["-Xarch_x86_64", option] if both else [option])),
            ],
            optional=True,
        )
        for owner, choices in INSTRUCTIONS.items()
        if both or owner == processor
        for instructions, options in choices.items()
    ]


setup(ext_modules=builds(sysconfig.get_platform()))
