"""The one-lane build of the core compiles for GPUs, on machines that have none."""

from __future__ import annotations

from pathlib import Path

import pytest
import warp as wp

from mmnav.rig import kernels


@pytest.mark.parametrize("arch", [86, 90])
def test_kernels_compile_with_nvrtc(arch, tmp_path):
    """NVRTC makes a cubin of all three kernels."""
    wp.init()
    if arch not in wp._src.context.runtime.nvrtc_supported_archs:
        pytest.skip(f"NVRTC does not know sm_{arch}")
    wp.compile_aot_module(wp.get_module(kernels.__name__), device=None, arch=arch, module_dir=tmp_path, use_ptx=False)
    cubin = next(Path(tmp_path).rglob("*.cubin")).read_bytes()
    assert all(name.encode() in cubin for name in ("place_views", "mask_patches", "trace_pixels"))
