"""Packets of 16 rays through Embree 3's C interface, where a compiler and libembree-dev are.

The Python binding embreex traces one ray after the other, which is not the best that Embree can do.
"""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np

PACKET = 16

_SOURCE = """
#include <embree3/rtcore.h>

static RTCDevice device;

RTCScene make_scene(const float* vertices, unsigned vertex_count, const unsigned* faces, unsigned face_count) {
    if (!device) device = rtcNewDevice("threads=1");
    RTCScene scene = rtcNewScene(device);
    RTCGeometry mesh = rtcNewGeometry(device, RTC_GEOMETRY_TYPE_TRIANGLE);
    float* v = rtcSetNewGeometryBuffer(mesh, RTC_BUFFER_TYPE_VERTEX, 0, RTC_FORMAT_FLOAT3, 12, vertex_count);
    unsigned* f = rtcSetNewGeometryBuffer(mesh, RTC_BUFFER_TYPE_INDEX, 0, RTC_FORMAT_UINT3, 12, face_count);
    for (unsigned i = 0; i < 3 * vertex_count; ++i) v[i] = vertices[i];
    for (unsigned i = 0; i < 3 * face_count; ++i) f[i] = faces[i];
    rtcCommitGeometry(mesh);
    rtcAttachGeometry(scene, mesh);
    rtcReleaseGeometry(mesh);
    rtcCommitScene(scene);
    return scene;
}

/* directions: [packet][xyz][16]; depth: [packet][16] */
void trace(RTCScene scene, const float* origin, const float* directions, unsigned packets, float far, float* depth) {
    static const int valid[16] __attribute__((aligned(64))) = {
        -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1};
    struct RTCIntersectContext context;
    rtcInitIntersectContext(&context);
    context.flags = RTC_INTERSECT_CONTEXT_FLAG_COHERENT;
    for (unsigned p = 0; p < packets; ++p) {
        struct RTCRayHit16 hit;
        const float* d = directions + 48 * p;
        for (int i = 0; i < 16; ++i) {
            hit.ray.org_x[i] = origin[0]; hit.ray.org_y[i] = origin[1]; hit.ray.org_z[i] = origin[2];
            hit.ray.dir_x[i] = d[i]; hit.ray.dir_y[i] = d[16 + i]; hit.ray.dir_z[i] = d[32 + i];
            hit.ray.tnear[i] = 0.0f; hit.ray.tfar[i] = far; hit.ray.time[i] = 0.0f;
            hit.ray.mask[i] = -1; hit.ray.flags[i] = 0;
            hit.hit.geomID[i] = hit.hit.instID[0][i] = RTC_INVALID_GEOMETRY_ID;
        }
        rtcIntersect16(valid, scene, &context, &hit);
        for (int i = 0; i < 16; ++i) depth[16 * p + i] = hit.ray.tfar[i];
    }
}
"""


def load() -> ctypes.CDLL | None:
    """Compiles the interface; None where there is no compiler or no Embree."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        source, library = Path(folder, "packets.c"), Path(folder, "packets.so")
        source.write_text(_SOURCE)
        words = [compiler, "-O3", "-march=native", "-shared", "-fPIC", source, "-lembree3", "-o", library]
        if subprocess.run(words, capture_output=True, check=False).returncode != 0:
            return None
        interface = ctypes.CDLL(str(library))
    interface.make_scene.restype = ctypes.c_void_p
    return interface


class PacketScenes:
    """Meshes of several worlds, and views into them that are traced packet by packet."""

    def __init__(self, interface: ctypes.CDLL, meshes: list[tuple[np.ndarray, np.ndarray]], far: float):
        """Builds Embree's trees: vertices [V, 3] float32 [m] and triangles [T, 3] int32 of each world."""
        self._interface, self._far = interface, ctypes.c_float(far)
        self._scenes = [self._make(vertices, faces) for vertices, faces in meshes]

    def _make(self, vertices: np.ndarray, faces: np.ndarray) -> ctypes.c_void_p:
        vertices, faces = np.ascontiguousarray(vertices, np.float32), np.ascontiguousarray(faces, np.uint32)
        counts = ctypes.c_uint(len(vertices)), ctypes.c_uint(len(faces))
        return ctypes.c_void_p(self._interface.make_scene(_address(vertices), counts[0], _address(faces), counts[1]))

    def trace(self, world: int, origin: np.ndarray, directions: np.ndarray, depth_out: np.ndarray) -> None:
        """Traces one view: origin [3], directions [packets, 3, 16], depths out [packets, 16], all float32."""
        count = ctypes.c_uint(len(directions))
        self._interface.trace(
            self._scenes[world], _address(origin), _address(directions), count, self._far, _address(depth_out)
        )


def _address(array: np.ndarray) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)
