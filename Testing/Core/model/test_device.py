"""In which precision hidden layers are computed."""

import pytest
import torch

from NISFCore.model.device import hidden_dtype, training_dtype


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        ({"avx512_bf16": True}, torch.bfloat16),
        ({"avx512_bf16": False, "amx_bf16": True}, torch.bfloat16),
        ({"avx512_f": True}, torch.float32),
        ({}, torch.float32),
    ],
)
def test_short_numbers_only_where_the_processor_multiplies_them(
    known: dict[str, bool], expected: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: known, raising=False)
    assert hidden_dtype("cpu") == training_dtype("cpu") == expected
    assert hidden_dtype("cuda") == torch.float32
    assert training_dtype("cuda") == torch.bfloat16


def test_a_torch_that_cannot_tell_means_full_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert hidden_dtype("cpu") == torch.float32
