"""The precision that students have if nobody names one."""

import pytest
import torch

from mmnav.precision import native_precision

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("found", "precision"),
    [({}, "fp32"), ({"avx512_bf16": False, "amx_bf16": False}, "fp32"), ({"avx512_bf16": True}, "bf16")],
)
def test_a_cpu_multiplies_in_what_its_hardware_has(found, precision, monkeypatch):
    """bf16 in software is ten times slower than fp32."""
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: found)
    assert native_precision("cpu") == precision


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_multiplies_in_what_its_hardware_has():
    assert (native_precision("cuda:0") == "bf16") == (torch.cuda.get_device_capability()[0] >= 8)
