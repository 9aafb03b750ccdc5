"""Precision: the arithmetic of students, by what a machine multiplies fastest."""

from __future__ import annotations

import torch


def native_precision(device: torch.device | str) -> str:
    """``bf16`` where the hardware multiplies in it, ``fp32`` elsewhere: software that does so is ten times slower.

    Args:
        device: ``cpu`` or ``cuda:N``.
    """
    if torch.device(device).type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    found = torch.cpu.get_capabilities()
    return "bf16" if found.get("avx512_bf16") or found.get("amx_bf16") else "fp32"
