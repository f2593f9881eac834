"""Data-parallel training with torch's own launcher (`torchrun -m NISFCore train ...`)."""

import importlib
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist

from NISFCore.errors import Cancelled


@contextmanager
def process_group(device: str) -> Iterator[None]:
    """Join the group that `torchrun` describes in the environment; nothing without it.

    The processes leave together, when the first one has written what it had to write. A process
    that fails leaves alone, and the others fail at their next exchange.
    """
    if "WORLD_SIZE" not in os.environ or int(os.environ["WORLD_SIZE"]) < 2:
        yield
        return
    # An optimiser loads torch._dynamo, which keeps a group that it finds. The group's threads would
    # outlive it and, now and then, abort the process at its end. Loaded before, it finds none.
    importlib.import_module("torch._dynamo")
    if device.startswith("cuda"):
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))  # "cuda" is then this one
    dist.init_process_group("nccl" if device.startswith("cuda") else "gloo")
    try:
        try:
            yield
        except Cancelled:  # of all together, see `any_process`
            dist.barrier()
            raise
        dist.barrier()
    finally:
        dist.destroy_process_group()


def launched_as_first() -> bool:
    """Whether this process is the one that reports; known before the group is joined."""
    return os.environ.get("RANK", "0") == "0"


def process_rank() -> int:
    """0 when training in one process."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def world_size() -> int:
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def average_gradients(parameter_groups: Iterable[dict[str, Any]]) -> None:
    """Average all gradients of an optimiser's parameter groups over the processes."""
    n = world_size()
    if n == 1:
        return
    for group in parameter_groups:
        for parameter in group["params"]:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            dist.all_reduce(parameter.grad)
            parameter.grad /= n


def any_process(flag: bool, device: torch.device) -> bool:
    """Whether the flag is set on any process; a call of all processes. A process that stopped
    alone would leave the others waiting for it."""
    if world_size() == 1:
        return flag
    value = torch.tensor([float(flag)], device=device)
    dist.all_reduce(value)
    return bool(value.item() > 0)


def gathered(value: torch.Tensor, device: torch.device) -> list[torch.Tensor]:
    """A tensor of every process, in order of their ranks, on the CPU; a call of all processes."""
    if world_size() == 1:
        return [value.cpu()]
    own = value.to(device)
    values = [torch.empty_like(own) for _ in range(world_size())]
    dist.all_gather(values, own)
    return [v.cpu() for v in values]
