"""Choosing the device to compute on."""

import torch

from NISFCore.errors import ConfigError


def resolve_device(device: str) -> str:
    """The device to compute on; "auto" takes CUDA where a small kernel runs on it.

    Raises:
        ConfigError: for an unknown device, or CUDA where there is none.
    """
    if device not in ("auto", "cpu", "cuda"):
        raise ConfigError(f"device: got {device!r}, allowed: auto, cpu, cuda")
    if device == "cpu":
        return "cpu"
    works = _cuda_works()
    if device == "cuda" and not works:
        raise ConfigError("device cuda: no usable CUDA GPU here; choose auto or cpu")
    return "cuda" if works else "cpu"


def _cuda_works() -> bool:
    if not torch.cuda.is_available():
        return False
    try:
        return bool((torch.ones(8, device="cuda") * 2).sum().item() == 16.0)
    except RuntimeError:  # a GPU that this build of torch has no kernels for
        return False
