"""The loops over time of `bptt` and `tangent`, and the noise for them, compiled from `loops.c` for this processor.

The libraries, with `penalty.c` in them, are built when this package is installed, where there is a C compiler, once for
each set of instructions, or come with its wheel. Without them, or on a processor that has none of AVX-512, AVX2 and
NEON (all 64-bit ARM processors do), `COMPILED` is None and `bptt` does the same by PyTorch, up to rounding.
"""

import ctypes
import platform
import sysconfig
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

BUILDS = {"AVX512": "loops_avx512", "AVX2": "loops_avx2", "NEON": "loops_neon"}
"""Names of the builds by the instructions that they use."""


def instructions() -> str:
    """The widest instructions of this processor, by PyTorch's names for those of x86."""
    return "NEON" if platform.machine() in ("arm64", "aarch64") else torch.backends.cpu.get_cpu_capability()


class CompiledLoops:
    """One build of `loops.c`, by its functions as `ctypes` has them.

    All tensors are in single precision and on the CPU.
    """

    def __init__(self, library: Any):
        self.library = library
        size, array, number = ctypes.c_long, ctypes.c_void_p, ctypes.c_float
        self._forward, self._backward, self._scratch_size = library.forward, library.backward, library.scratch_size
        self._forward.argtypes = [size] * 5 + [array] * 5 + [number] + [array] * 2
        self._backward.argtypes = [size] * 7 + [array] * 5 + [number] + [array] * 4
        self._forward.restype = self._backward.restype = None
        self._scratch_size.argtypes, self._scratch_size.restype = [size] * 2, size
        self._tangent = library.tangent
        self._tangent.argtypes, self._tangent.restype = [size] * 4 + [array] * 3 + [number] + [array] * 2, None
        self._look_up = library.look_up
        self._look_up.argtypes, self._look_up.restype = [size] + [array] * 3, None
        library.lanes.restype = size
        self.lanes: int = library.lanes()

    def forward(
        self,
        inputs: Float[Tensor, "network time trial input"],
        recurrent_weights: Float[Tensor, "network unit unit"],
        input_weights: Float[Tensor, "network unit input"],
        bias: Float[Tensor, "network unit"],
        initial_state: Float[Tensor, "network unit"],
        noise: Float[Tensor, "network time trial unit"] | None,
        alpha: float,
        nonlinearity: int,
        rates: Float[Tensor, "network time_and_first trial unit"],
    ) -> None:
        """Fill the rates, which are contiguous and whose first are those of the initial state, from the second on.

        The nonlinearity is given by its number.
        """
        networks, times, trials, n_inputs = inputs.shape
        units = rates.shape[-1]
        inputs = inputs.contiguous()
        noise = noise.contiguous() if noise is not None else None
        weights = self._padded(alpha * torch.cat([recurrent_weights, input_weights], 2).transpose(1, 2))
        bias, initial_state = self._padded(alpha * bias), self._padded(initial_state)
        scratch = rates.new_empty(self._scratch_size(units, n_inputs))
        for network in range(networks):
            self._forward(
                *(times, trials, units, n_inputs, nonlinearity),
                *(inputs[network].data_ptr(), noise[network].data_ptr() if noise is not None else None),
                *(part[network].data_ptr() for part in (weights, bias, initial_state)),
                1.0 - alpha,
                *(scratch.data_ptr(), rates[network].data_ptr()),
            )

    def backward(
        self,
        inputs: Float[Tensor, "network time trial input"],
        grad_outputs: Float[Tensor, "network time trial output"] | None,
        grad_rates: Float[Tensor, "network sampled_time trial unit"] | None,
        every: int,
        rates: Float[Tensor, "network time_and_first trial unit"],
        recurrent_weights: Float[Tensor, "network unit unit"],
        output_weights: Float[Tensor, "network output unit"] | None,
        alpha: float,
        nonlinearity: int,
        grad_states: Float[Tensor, "network time trial unit"],
    ) -> tuple[
        Float[Tensor, "network unit input"], Float[Tensor, "network unit"], Float[Tensor, "network output unit"]
    ]:
        """Fill the gradient with respect to the states, which is contiguous.

        The gradient with respect to the rates is of every n-th time, from the first on. Returns those with respect to
        the weights of the inputs, the bias, and the weights of the outputs (none where there is no gradient of these).
        """
        networks, times, trials, n_inputs = inputs.shape
        units, n_outputs = grad_states.shape[-1], grad_outputs.shape[-1] if grad_outputs is not None else 0
        inputs = inputs.contiguous()
        grad_outputs = grad_outputs.contiguous() if grad_outputs is not None else None
        grad_rates = grad_rates.contiguous() if grad_rates is not None else None
        weights = alpha * recurrent_weights
        if output_weights is not None:
            weights = torch.cat([weights, output_weights], 1)
        weights = self._padded(weights)
        scratch = rates.new_empty(self._scratch_size(units, n_inputs + n_outputs))
        grad_drive = rates.new_zeros(networks, n_inputs + 1, weights.shape[-1])
        grad_readout = rates.new_zeros(networks, n_outputs, weights.shape[-1])
        for network in range(networks):
            self._backward(
                *(times, trials, units, n_inputs, n_outputs, every, nonlinearity),
                *(
                    part[network].data_ptr() if part is not None else None
                    for part in (inputs, grad_outputs, grad_rates, rates, weights)
                ),
                1.0 - alpha,
                scratch.data_ptr(),
                *(part[network].data_ptr() for part in (grad_states, grad_drive, grad_readout)),
            )
        grad_drive = alpha * grad_drive[..., :units]
        return grad_drive[:, :-1].transpose(1, 2), grad_drive[:, -1], grad_readout[..., :units]

    def tangent(
        self,
        changes: Float[Tensor, "network time trial unit"],
        step: Float[Tensor, "network unit unit"],
        of_initial: Float[Tensor, "network unit"],
        rates: Float[Tensor, "network time_and_first trial unit"],
        keep: float,
        nonlinearity: int,
    ) -> None:
        """Turn the first-order change of the drive into that of the rates, in place.

        `step` is alpha J, and `of_initial` the change of the initial state. Changes and rates are contiguous.
        """
        networks, times, trials, units = changes.shape
        weights, of_initial = self._padded(step.transpose(1, 2)), self._padded(of_initial)
        scratch = changes.new_empty(self._scratch_size(units, 0))
        for network in range(networks):
            self._tangent(
                *(times, trials, units, nonlinearity),
                *(part[network].data_ptr() for part in (rates, weights, of_initial)),
                keep,
                *(scratch.data_ptr(), changes[network].data_ptr()),
            )

    def look_up(self, bits: Int[Tensor, "part"], values: Float[Tensor, "value"], noise: Float[Tensor, "any"]) -> None:
        """Fill the noise with the values that the lower 15 of each 16 bits choose; all are contiguous."""
        self._look_up(len(noise), bits.data_ptr(), values.data_ptr(), noise.data_ptr())

    def _padded(self, array: Float[Tensor, "*row unit"]) -> Float[Tensor, "*row padded_unit"]:
        """The same with rows filled up to whole vectors with zeros."""
        return torch.nn.functional.pad(array, (0, -array.shape[-1] % self.lanes)).contiguous()


def load(build: str) -> CompiledLoops | None:
    """A build by its name, or None where it was not made. Raises ImportError where it is of older sources, or of
    another machine.
    """
    file = Path(__file__).parent / f"{build}{sysconfig.get_config_var('EXT_SUFFIX')}"
    if not file.exists():
        return None
    try:
        return CompiledLoops(ctypes.CDLL(str(file)))
    except (AttributeError, OSError) as error:
        why = "of older sources" if isinstance(error, AttributeError) else "broken or of another machine"
        raise ImportError(f"{file} is {why} ({error}); install the package again: pip install --editable .") from None


COMPILED = load(BUILDS.get(instructions(), "none"))
"""The build for this processor."""
