"""What NVRTC makes of a Warp module, on machines without a GPU too."""

from __future__ import annotations

import re
import struct
import tempfile
from pathlib import Path

import warp as wp

_SYMBOL_TABLE, _SIZED, _REGISTER_COUNT = 2, 4, 0x2F
"""Type of an ELF section, form of an attribute that has a length, and the attribute."""


def registers(module: str, arch: int) -> dict[str, int] | None:
    """Registers a thread of each of a Warp module's kernels takes on an architecture (86 for sm_86).

    Returns:
        Registers by kernel; None if NVRTC does not know the architecture.
    """
    wp.init()
    if arch not in wp._src.context.runtime.nvrtc_supported_archs:
        return None
    with tempfile.TemporaryDirectory() as folder:
        wp.compile_aot_module(wp.get_module(module), device=None, arch=arch, module_dir=folder, use_ptx=False)
        return _registers(next(Path(folder).rglob("*.cubin")).read_bytes())


def _registers(cubin: bytes) -> dict[str, int]:
    """Reads the ELF file: in the section ``.nv.info``, attribute 0x2f holds a symbol's index and its registers."""
    (table,) = struct.unpack_from("<Q", cubin, 40)
    size, count, names_index = struct.unpack_from("<HHH", cubin, 58)
    sections = [struct.unpack_from("<IIQQQQIIQQ", cubin, table + i * size) for i in range(count)]

    def text(strings: int, at: int) -> str:
        start = sections[strings][4] + at
        return cubin[start : cubin.index(b"\0", start)].decode()

    _, _, _, _, symbols, _, strings, *_ = next(s for s in sections if s[1] == _SYMBOL_TABLE)
    info = next(s for s in sections if text(names_index, s[0]) == ".nv.info")
    found, at, end = {}, info[4], info[4] + info[5]
    while at < end:
        form, attribute, length = struct.unpack_from("<BBH", cubin, at)
        if attribute == _REGISTER_COUNT:
            symbol, registers = struct.unpack_from("<II", cubin, at + 4)
            (name,) = struct.unpack_from("<I", cubin, symbols + 24 * symbol)
            if kernel := re.fullmatch(r"(.+)_[0-9a-f]{8}_cuda_kernel_forward", text(strings, name)):
                found[kernel[1]] = registers
        at += 4 + (length if form == _SIZED else 0)
    return found
