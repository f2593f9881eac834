"""Choosing the device to compute on, and the precision of hidden layers there."""

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


def training_dtype(device: str) -> torch.dtype:
    """Of a training's hidden layers: bfloat16 on GPUs and processors that multiply it."""
    return hidden_dtype(device) if device == "cpu" else torch.bfloat16


def hidden_dtype(device: str) -> torch.dtype:
    """Of a fit's hidden layers: bfloat16 on processors that multiply it, float32 elsewhere.

    A solver's steps on a GPU wait for their launches, not for products.
    """
    if device != "cpu":
        return torch.float32
    # older torch cannot tell
    capabilities: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()
    knows = capabilities.get("avx512_bf16", False) or capabilities.get("amx_bf16", False)
    return torch.bfloat16 if knows else torch.float32


def _cuda_works() -> bool:
    if not torch.cuda.is_available():
        return False
    try:
        return bool((torch.ones(8, device="cuda") * 2).sum().item() == 16.0)
    except RuntimeError:  # a GPU that this build of torch has no kernels for
        return False
