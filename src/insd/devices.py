"""Where networks are trained: on the CPU, or many side by side on a GPU."""

import torch

from insd.errors import InsdError

CPU = torch.device("cpu")
"""The processor, where networks are trained unless the config says otherwise."""


class DeviceError(InsdError):
    """The config's device cannot be used here."""


def device_of(name: str) -> torch.device:
    """The device by its name in the config; `auto` is a GPU where PyTorch can use one, else the CPU.

    Raises DeviceError for `cuda` if PyTorch finds no GPU.
    """
    if name == "cpu" or (name == "auto" and not torch.cuda.is_available()):
        return CPU
    if not torch.cuda.is_available():
        raise DeviceError(
            f"device = 'cuda': torch {torch.__version__} can use no GPU here; "
            "request one from the cluster, install a build of torch with CUDA, or set device to cpu or auto"
        )
    return torch.device("cuda")


def describe(device: torch.device) -> str:
    """Its name for the attributes of files."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
