"""What a rig of cameras is: pure data, and the rays that follow from it."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from .errors import check_fields
from .robot import ROBOT

LENS_MODELS = ("kannala_brandt", "pinhole")
"""Lens models: a fisheye with an odd polynomial of the angle (equidistant if it has no coefficients), and a pinhole."""


@dataclass(frozen=True)
class LensCfg:
    """A lens with its image's geometry: pixel (u, v) of its centre sees one direction.

    With x = (u - cx) / fx to the right and y = (v - cy) / fy down, r = hypot(x, y) and theta the angle from the axis:

    - ``kannala_brandt``: r = theta (1 + k1 theta^2 + k2 theta^4 + ...) (Kannala and Brandt 2006, as in OpenCV);
    - ``pinhole``: r = tan theta.

    ``fx`` and ``fy`` may differ (an anisotropic image). The centre of the image's first pixel is (0.5, 0.5).
    """

    fx: float
    """Focal length across [pixels]; for an equidistant lens pixels per radian."""
    fy: float
    """Focal length down [pixels]."""
    cx: float
    """Column of the optical axis [pixels], from the image's left edge."""
    cy: float
    """Row of the optical axis [pixels], from the image's top edge."""
    model: str = "kannala_brandt"
    """One of :data:`LENS_MODELS`."""
    k: tuple[float, ...] = ()
    """Coefficients k1, k2, ... of ``kannala_brandt``."""

    def __post_init__(self) -> None:
        """Checks the values.

        Raises:
            ValueError: If the model is unknown or a number is impossible; the message names the field and the value.
        """
        check_fields(self, lambda value: value in LENS_MODELS, f"be one of {', '.join(LENS_MODELS)}", "model")
        check_fields(self, lambda value: 0.0 < value < math.inf, "be a positive number of pixels", "fx", "fy")
        check_fields(self, math.isfinite, "be finite", "cx", "cy")
        if not all(math.isfinite(k) for k in self.k):
            raise ValueError(f"LensCfg.k is {self.k}; its coefficients must be finite.")
        if self.k and self.model != "kannala_brandt":
            raise ValueError(f"LensCfg.k is {self.k}; only a kannala_brandt lens has coefficients, not a {self.model}.")

    def directions(self, u: np.ndarray, v: np.ndarray) -> np.ndarray:
        """Unit directions of image points in the camera's frame (x forward, y left, z up).

        Args:
            u: Columns [pixels], any shape.
            v: Rows [pixels], same shape.

        Returns:
            Directions, shape [..., 3], float64.

        Raises:
            ValueError: If the lens does not reach a point: theta_d stops growing before it, or theta would pass pi.
        """
        x, y = (u - self.cx) / self.fx, (v - self.cy) / self.fy
        r = np.hypot(x, y)
        theta = np.arctan(r) if self.model == "pinhole" else self._undistort(r)
        scale = np.where(r > 1e-12, np.sin(theta) / np.maximum(r, 1e-12), 1.0)
        return np.stack([np.cos(theta), -scale * x, -scale * y], -1)

    def project(self, directions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Image points of directions in the camera's frame: the inverse of :meth:`directions`.

        Args:
            directions: Unit directions, shape [..., 3].

        Returns:
            Columns and rows [pixels], shape [...]; NaN for what a pinhole has behind it.
        """
        x, y, z = np.moveaxis(directions, -1, 0)
        across = np.hypot(y, z)
        theta = np.arctan2(across, x)
        with np.errstate(invalid="ignore"):
            r = np.where(x > 0.0, np.tan(theta), np.nan) if self.model == "pinhole" else self._distort(theta)
        scale = np.where(across > 1e-12, r / np.maximum(across, 1e-12), 1.0)
        return self.cx - self.fx * scale * y, self.cy - self.fy * scale * z

    def _distort(self, theta: np.ndarray) -> np.ndarray:
        """Returns theta_d of theta."""
        return theta * np.polynomial.polynomial.polyval(theta**2, (1.0, *self.k))

    def _undistort(self, theta_d: np.ndarray) -> np.ndarray:
        """Inverts theta_d of theta, by a table and Newton's method."""
        table = np.linspace(0.0, math.pi, 4097)
        distorted = self._distort(table)
        falls = np.flatnonzero(np.diff(distorted) <= 0.0)
        end = int(falls[0]) if len(falls) else len(table) - 1
        reach = float(theta_d.max())
        if reach > distorted[end]:
            why = "stops growing at" if len(falls) else "would have to pass"
            raise ValueError(
                f"LensCfg.k is {self.k} with fx = {self.fx} and fy = {self.fy}: the image reaches theta_d = {reach:.4g}"
                f", but theta_d {why} theta = {table[end]:.4g} rad, theta_d = {distorted[end]:.4g}."
            )
        theta = np.interp(theta_d, distorted[: end + 1], table[: end + 1])
        slope_coefficients = [(2 * i + 1) * k for i, k in enumerate((1.0, *self.k))]
        for _ in range(4):
            slope = np.polynomial.polynomial.polyval(theta**2, slope_coefficients)
            theta = theta - (self._distort(theta) - theta_d) / np.maximum(slope, 1e-6)
        return theta


@dataclass(frozen=True)
class CameraCfg:
    """One camera: where it sits on the robot, and its lens. Frames: x forward, y left, z up."""

    lens: LensCfg
    """Lens and image geometry."""
    position: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Optical centre in the robot's base frame [m]."""
    yaw: float = 0.0
    """Heading in the base frame [rad], positive to the left."""
    pitch: float = 0.0
    """Turn about the camera's y axis after the yaw [rad]; positive looks down."""

    @property
    def rotation(self) -> np.ndarray:
        """Robot-from-camera rotation, shape [3, 3], float64."""
        cy, sy, cp, sp = math.cos(self.yaw), math.sin(self.yaw), math.cos(self.pitch), math.sin(self.pitch)
        return np.array([[cy * cp, -sy, cy * sp], [sy * cp, cy, sy * sp], [-sp, 0.0, cp]])


@dataclass(frozen=True)
class JitterCfg:
    """How far each world's cameras are from their nominal ones; all by the world's seed.

    Poses are drawn for every camera of every world. Intrinsics come from a bank of :attr:`lenses` lenses a camera, the
    first of which is the nominal one, so that tables of rays stay few.
    """

    position: float = 0.01
    """Largest displacement along each axis [m]."""
    rotation: float = 0.02
    """Largest turn about each axis [rad]."""
    focal: float = 0.02
    """Largest change of the focal lengths, as a share."""
    center: float = 0.01
    """Largest shift of the optical axis, as a share of the image's width and height."""
    lenses: int = 16
    """Lenses in the bank."""

    def __post_init__(self) -> None:
        """Checks the values.

        Raises:
            ValueError: If one is impossible; the message names the field and the value.
        """
        sizes = ("position", "rotation", "focal", "center")
        check_fields(self, lambda value: 0.0 <= value < 0.5, "lie in [0, 0.5)", *sizes)
        check_fields(self, lambda value: 1 <= value <= 256, "lie between 1 and 256", "lenses")


@dataclass(frozen=True)
class RigCfg:
    """Cameras that see together, at one resolution."""

    cameras: tuple[CameraCfg, ...]
    """The cameras, in the order of the images."""
    width: int
    """Columns of every image [pixels]; any positive number."""
    height: int
    """Rows of every image [pixels]; any positive number."""
    max_range: float = 20.0
    """Largest depth [m]; what is farther, and the sky, has this depth."""
    ground: bool = True
    """Whether the half space below z = 0 is solid."""
    conservative: bool = False
    """Whether no primitive is thinner than a pixel, so that no gap between two rays hides a stick.

    A half extent h is raised to rho (D + h) where it is less, with D the camera's distance to the primitive's bounding
    box and rho half the largest angle between neighbouring pixels: across the image for dimensions that lie level in
    it, down the image for upright ones, in between by their tilt; a round kind takes its most demanding direction.
    Depth is exact for primitives thicker than that. Thinner ones grow by at most rho D to each side along their own
    axes: seen broadside, their surface is nearer by less than rho D. As rho is below 0.5, a camera outside of a
    primitive stays outside.
    """
    samples: int = 1
    """Rays a pixel: 1, 2 or 4. Colour is their mean, depth the least: a stick thinner than a pixel does not flicker."""
    jitter: JitterCfg | None = None
    """Randomisation of poses and lenses; none if None."""

    def __post_init__(self) -> None:
        """Checks the values, and that every lens reaches its whole image.

        Raises:
            ValueError: If a field is impossible; the message names the field and the value.
        """
        if not self.cameras:
            raise ValueError("RigCfg.cameras is empty; a rig has at least one camera.")
        for name in ("width", "height"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise ValueError(f"RigCfg.{name} is {value}; an image has a whole, positive number of pixels.")
        if self.samples not in _OFFSETS:
            raise ValueError(f"RigCfg.samples is {self.samples}; it must be one of {', '.join(map(str, _OFFSETS))}.")
        if not (math.isfinite(self.max_range) and self.max_range > 0.0):
            raise ValueError(f"RigCfg.max_range is {self.max_range}; it must be a positive number of metres.")
        for index, camera in enumerate(self.cameras):
            if not all(math.isfinite(x) for x in (*camera.position, camera.yaw, camera.pitch)):
                raise ValueError(f"RigCfg.cameras[{index}] has a pose that is not finite: {camera}.")
            try:
                pitch = max(pixel_pitch(camera.lens, self.width, self.height))
            except ValueError as error:
                raise ValueError(f"RigCfg.cameras[{index}]: {error}") from None
            if self.conservative and pitch >= 0.98:
                raise ValueError(
                    f"RigCfg.conservative needs pixels below 0.98 rad; those of cameras[{index}] span {pitch:.3g} rad."
                )


_OFFSETS = {
    1: ((0.0, 0.0),),
    2: ((-0.25, -0.25), (0.25, 0.25)),
    4: ((-0.125, -0.375), (0.375, -0.125), (0.125, 0.375), (-0.375, 0.125)),
}
"""Where in a pixel its rays are [pixels], from its centre."""


def rays(cfg: RigCfg) -> np.ndarray:
    """Unit directions of all pixels' centres in their cameras' frames, shape [C, H, W, 3], float64."""
    u, v = np.meshgrid(np.arange(cfg.width) + 0.5, np.arange(cfg.height) + 0.5)
    return np.stack([camera.lens.directions(u, v) for camera in cfg.cameras])


def lens_bank(cfg: RigCfg) -> list[LensCfg]:
    """The lenses that a rig's cameras may have: L for each camera, camera by camera, the nominal ones first."""
    if cfg.jitter is None:
        return [camera.lens for camera in cfg.cameras]
    bank, rng = [], np.random.default_rng(0)
    for camera in cfg.cameras:
        lens = camera.lens
        for draw in rng.uniform(-1.0, 1.0, (cfg.jitter.lenses, 4)) * (np.arange(cfg.jitter.lenses) > 0)[:, None]:
            focal, center = 1.0 + cfg.jitter.focal * draw[:2], cfg.jitter.center * draw[2:]
            fx, fy = lens.fx * focal[0], lens.fy * focal[1]
            cx, cy = lens.cx + cfg.width * center[0], lens.cy + cfg.height * center[1]
            bank.append(replace(lens, fx=float(fx), fy=float(fy), cx=float(cx), cy=float(cy)))
    return bank


def sample_rays(cfg: RigCfg) -> np.ndarray:
    """Unit directions of all rays of all lenses of the bank, shape [lenses, samples, H, W, 3], float64."""
    u, v = np.meshgrid(np.arange(cfg.width) + 0.5, np.arange(cfg.height) + 0.5)
    return np.stack([[lens.directions(u + du, v + dv) for du, dv in _OFFSETS[cfg.samples]] for lens in lens_bank(cfg)])


def pixel_pitch(lens: LensCfg, width: int, height: int) -> tuple[float, float]:
    """Largest angle between the two side edges' middles, and between the upper and lower edges' middles, of any pixel.

    Returns:
        The pitch across and the pitch down the image [rad].
    """
    u, v = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)

    def largest(a: np.ndarray, b: np.ndarray) -> float:
        return float(2.0 * np.arcsin(np.clip(np.linalg.norm(a - b, axis=-1) / 2.0, 0.0, 1.0)).max())

    across = largest(lens.directions(u - 0.5, v), lens.directions(u + 0.5, v))
    down = largest(lens.directions(u, v - 0.5), lens.directions(u, v + 0.5))
    return across, down


def fisheye_rig(
    width: int = 128, height: int = 128, across: float = 130.0, down: float | None = None, samples: int = 1
) -> RigCfg:
    """MM-Nav's rig (arXiv 2510.03142): four fisheyes F, R, B, L at the body's sides.

    Args:
        width: Columns of every image [px].
        height: Rows of every image [px].
        across: Field of view across the middle row [degrees].
        down: Field of view down the middle column [degrees]; None for square pixels.
        samples: Rays a pixel.
    """
    k = (-0.01, 0.002)

    def focal(pixels: int, degrees: float) -> float:
        half = math.radians(degrees) / 2.0
        return pixels / 2.0 / (half * (1.0 + k[0] * half**2 + k[1] * half**4))

    fx = focal(width, across)
    lens = LensCfg(fx=fx, fy=fx if down is None else focal(height, down), cx=width / 2.0, cy=height / 2.0, k=k)
    length, breadth, _ = ROBOT.half_extents
    sides = ((length, 0.0, 0.10), (0.0, -breadth, 0.10), (-length, 0.0, 0.10), (0.0, breadth, 0.10))
    cameras = [CameraCfg(lens, side, yaw) for side, yaw in zip(sides, _CLOCKWISE, strict=True)]
    return RigCfg(cameras=tuple(cameras), width=width, height=height, samples=samples)


PANORAMA_RANGE = 6.0
"""How far the experts see [m]."""

PANORAMA_TOP = math.radians(14.0)
"""How far above the horizon they see [rad]: what is higher is not in a robot's way."""


def depth_rig(width: int = 64, height: int = 4) -> RigCfg:
    """The privileged experts' rig: a panorama in four views F, R, B, L from one point 0.40 m above the ground.

    Each view spans exactly 90 degrees along its horizon, so that F | R | B | L joined along the width is one clockwise
    turn; and from 38 degrees below to 14 above it in the middle, for low obstacles and the robot's own height band.
    The ground is left out: it is the same everywhere, and the nearest pixel of a column is then that of an obstacle.
    """
    across, below = math.radians(90.0), math.radians(38.0)
    fy = height / (below + PANORAMA_TOP)
    lens = LensCfg(fx=width / across, fy=fy, cx=width / 2.0, cy=PANORAMA_TOP * fy)
    cameras = tuple(CameraCfg(lens, (0.0, 0.0, 0.15), yaw) for yaw in _CLOCKWISE)
    return RigCfg(
        cameras=cameras, width=width, height=height, max_range=PANORAMA_RANGE, ground=False, conservative=True
    )


_CLOCKWISE = (0.0, -math.pi / 2.0, math.pi, math.pi / 2.0)
"""Headings of F, R, B, L [rad]."""

FISHEYE_RIG = fisheye_rig()
"""The student's rig; see :func:`fisheye_rig`."""

DEPTH_RIG = depth_rig()
"""The experts' rig; see :func:`depth_rig`."""
