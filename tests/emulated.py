"""The compiled code for ARM on a processor of another kind: cross-compiled, and run by an emulator, call by call."""

import ctypes
import shutil
import struct
import subprocess
from functools import cache, partial
from pathlib import Path

from conftest import ROOT

COMPILER, EMULATOR = "aarch64-linux-gnu-gcc", "qemu-aarch64"
MISSING = (
    f"{COMPILER} and {EMULATOR} (Debian's gcc-aarch64-linux-gnu, libc6-dev-arm64-cross, qemu-user) are not installed"
)
AVAILABLE = bool(shutil.which(COMPILER) and shutil.which(EMULATOR))
FORWARD, BACKWARD, LOOK_UP, MATRICES, GRADIENT, TANGENT, SCRATCH_SIZE, PENALTY_SCRATCH_SIZE, LANES = range(9)


def floats(count: int) -> int:
    return ctypes.sizeof(ctypes.c_float) * count


def doubles(count: int) -> int:
    return ctypes.sizeof(ctypes.c_double) * count


class EmulatedLoops:
    """The compiled functions for 64-bit ARM. They take the addresses of arrays, as those that are not emulated."""

    def __init__(self, folder: Path):
        self.program = folder / "loops"
        sources = ROOT / "src/insd/networks/engine"
        command = [COMPILER, "-O3", "-static", "-I", sources, ROOT / "tests/emulated.c", "-lm", "-o", self.program]
        subprocess.run(command, check=True)
        # `CompiledLoops` declares types on its functions, which methods have no room for.
        self.forward, self.backward, self.look_up = map(partial, (self._forward, self._backward, self._look_up))
        self.tangent = partial(self._tangent)
        self.penalty_matrices, self.penalty_gradient = partial(self._matrices), partial(self._gradient)
        self.lanes = cache(partial(self._size, LANES))
        self.scratch_size = cache(partial(self._size, SCRATCH_SIZE))
        self.penalty_scratch_size = cache(partial(self._size, PENALTY_SCRATCH_SIZE))

    def _call(self, function: int, sizes: tuple[int, ...], number: float, addresses, lengths) -> bytes:
        request = struct.pack("=8qd", function, *sizes, *[0] * (7 - len(sizes)), number)
        for address, length in zip(addresses, lengths, strict=True):
            request += struct.pack("=q", length if address else -1)
            request += ctypes.string_at(address, length) if address else b""
        answer = subprocess.run([EMULATOR, self.program], input=request, check=True, stdout=subprocess.PIPE).stdout
        for address, length in zip(addresses, lengths, strict=True):
            if address:
                ctypes.memmove(address, answer, length)
                answer = answer[length:]
        return answer

    def _size(self, function: int, *sizes: int) -> int:
        return int.from_bytes(self._call(function, sizes, 0, (), ()), "little")

    def _look_up(self, count: int, *addresses: int) -> None:
        self._call(LOOK_UP, (count,), 0, addresses, [2 * count, floats(1 << 15), floats(count)])

    def _forward(self, *arguments) -> None:
        sizes, (inputs, noise, weights, bias, initial, keep, scratch, rates) = arguments[:5], arguments[5:]
        times, trials, units, n_inputs, _ = sizes
        row = units + -units % self.lanes()
        lengths = [
            times * trials * n_inputs,
            times * trials * units,
            (units + n_inputs) * row,
            row,
            row,
            self.scratch_size(units, n_inputs),
            (times + 1) * trials * units,
        ]
        addresses = (inputs, noise, weights, bias, initial, scratch, rates)
        self._call(FORWARD, sizes, keep, addresses, [floats(length) for length in lengths])

    def _backward(self, *arguments) -> None:
        sizes, (inputs, grad_outputs, grad_rates, rates, weights, keep, *written) = arguments[:7], arguments[7:]
        times, trials, units, n_inputs, n_outputs, every, _ = sizes
        row = units + -units % self.lanes()
        lengths = [
            times * trials * n_inputs,
            times * trials * n_outputs,
            -(-times // every) * trials * units,
            (times + 1) * trials * units,
            (units + n_outputs) * row,
            self.scratch_size(units, n_inputs + n_outputs),
            times * trials * units,
            (n_inputs + 1) * row,
            n_outputs * row,
        ]
        addresses = (inputs, grad_outputs, grad_rates, rates, weights, *written)
        self._call(BACKWARD, sizes, keep, addresses, [floats(length) for length in lengths])

    def _tangent(self, *arguments) -> None:
        sizes, (rates, weights, initial, keep, scratch, changes) = arguments[:4], arguments[4:]
        times, trials, units, _ = sizes
        row = units + -units % self.lanes()
        lengths = [
            (times + 1) * trials * units,
            units * row,
            row,
            self.scratch_size(units, 0),
            times * trials * units,
        ]
        addresses = (rates, weights, initial, scratch, changes)
        self._call(TANGENT, sizes, keep, addresses, [floats(length) for length in lengths])

    def _matrices(self, *arguments) -> None:
        sizes, arrays, ridge, written = arguments[:7], arguments[7:12], arguments[12], arguments[13:]
        times, trials, stride, units, outputs, components, networks = sizes
        lengths = [
            floats((times - 1) * stride + trials * units),
            floats(times * trials * components),
            floats(times * trials),
            floats(components * networks),
            doubles(outputs * units),
            floats(self.penalty_scratch_size(units, outputs, components)),
            *self._made(units, outputs, components),
            doubles(units * units),
            doubles(units * components),
        ]
        self._call(MATRICES, sizes, ridge, (*arrays, *written), lengths)

    def _gradient(self, *arguments) -> None:
        sizes, arrays, ridge, written = arguments[:6], arguments[6:16], arguments[16], arguments[17:]
        times, trials, stride, units, outputs, components = sizes
        mean, *made = self._made(units, outputs, components)
        lengths = [
            floats((times - 1) * stride + trials * units),
            floats(times * trials * components),
            floats(times * trials),
            mean,
            *made[:2],
            doubles(outputs * units),
            made[2],
            doubles(units * components),
            doubles(components),
            floats(self.penalty_scratch_size(units, outputs, components)),
            floats(times * trials * units),
            doubles(outputs * units),
        ]
        self._call(GRADIENT, sizes, ridge, (*arrays, *written), lengths)

    def _made(self, units: int, outputs: int, components: int) -> list[int]:
        """Bytes of the means, of what divides components, of C and of B G."""
        filled = sum(size + -size % self.lanes() for size in (units, components))
        return [floats(filled), doubles(components), doubles(units * components), doubles(outputs * units)]
