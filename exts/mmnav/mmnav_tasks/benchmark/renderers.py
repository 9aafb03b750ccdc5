"""Renderers that draw the same frame of the same worlds, ours and others', for ``benchmark.py rig``.

Every maker below takes the scene, the rig and the robots' poses, and returns contenders: a name, what comes out, and a
function that renders one frame. What is built once (meshes, acceleration structures that a static scene keeps) is built
before; ours makes its tables anew in every frame, which counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from mmnav.camera import rays
from mmnav.rig import Rig, RigCfg, fisheye_rig, random_day
from mmnav.rig.tables import TILE
from mmnav.robot import ROBOT
from mmnav.scenes import Kind, ReachCfg, SceneBatch, generate

DEPTH, COLOR, SHADED = "depth", "rgb + depth", "rgb + shadows + depth"
"""What a frame consists of; a peer without shadows is compared with ours that has them as well."""


@dataclass(frozen=True)
class Contender:
    """A renderer, ready to render the frame."""

    renderer: str
    output: str
    pixels: int
    render: Callable[[], object]
    depth: Callable[[], np.ndarray] | None = None
    """Depth of the last frame [m], shape [E, C, H, W], where it can be compared."""


@dataclass(frozen=True)
class Frame:
    """What everybody renders."""

    scene: SceneBatch
    cfg: RigCfg
    position: torch.Tensor
    """Positions of the robots [m], shape [E, 3]."""
    orientation: torch.Tensor
    """Their quaternions (x, y, z, w), shape [E, 4]."""

    @property
    def pixels(self) -> int:
        """Pixels of the frame, all envs and cameras together."""
        return self.scene.env_count * len(self.cfg.cameras) * self.cfg.width * self.cfg.height

    def cameras(self) -> tuple[np.ndarray, np.ndarray]:
        """World-from-camera quaternions [E, C, 4] and positions [E, C, 3] of all cameras."""
        body = Rotation.from_quat(self.orientation.numpy())
        turns, places = [], []
        for camera in self.cfg.cameras:
            turns.append((body * Rotation.from_matrix(camera.rotation)).as_quat())
            places.append(self.position.numpy() + body.apply(np.asarray(camera.position)))
        return np.stack(turns, 1), np.stack(places, 1)

    def directions(self) -> np.ndarray:
        """Rays in the world, shape [E, C, H W, 3], float32."""
        turns, _ = self.cameras()
        table = rays(self.cfg).reshape(len(self.cfg.cameras), -1, 3)
        world = [[Rotation.from_quat(turn).apply(rays) for turn, rays in zip(env, table, strict=True)] for env in turns]
        return np.ascontiguousarray(world, np.float32)


def make_frame(env_count: int, size: int, obstacles: int = 26) -> Frame:
    """Robots at the starts of Reach layouts with four walls and that many obstacles, seen by MM-Nav's rig."""
    scene = generate(ReachCfg(obstacles=(obstacles, obstacles)), np.arange(env_count))
    return Frame(scene, fisheye_rig(size, size), *scene.start_poses(ROBOT.center_height))


def ours(frame: Frame, threads: int = 1) -> Iterator[Contender]:
    """The rig, tables and all."""
    given = (frame.position, frame.orientation, frame.scene.position)
    for output, shadows in ((SHADED, True), (COLOR, False)):
        rig = Rig(frame.cfg, frame.scene, look=random_day(), shadows=shadows, threads=threads)
        yield Contender("mmnav", output, frame.pixels, lambda rig=rig: rig.render(*given))
    rig = Rig(frame.cfg, frame.scene, threads=threads)
    yield Contender("mmnav", DEPTH, frame.pixels, lambda: rig.render_depth(*given), lambda: rig.depth.numpy())


def newton(frame: Frame) -> Iterator[Contender]:
    """Newton's SensorTiledCamera: with textures and 8x8 tiles as Isaac Lab sets it, and in its faster settings."""
    import newton
    import warp as wp
    from newton.sensors import SensorTiledCamera

    scene, cfg = frame.scene, frame.cfg
    builder = newton.ModelBuilder()
    for e in range(scene.env_count):
        builder.begin_world()
        for k, kind in enumerate(scene.kind[e].tolist()):
            place = wp.transform(wp.vec3(*scene.position[e, k].tolist()), wp.quat(*scene.orientation[e, k].tolist()))
            x, y, z = scene.size[e, k].tolist()
            look = {"xform": place, "color": tuple(scene.color[e, k].tolist())}
            if kind == Kind.BOX:
                builder.add_shape_box(-1, hx=x, hy=y, hz=z, **look)
            elif kind == Kind.CYLINDER:
                builder.add_shape_cylinder(-1, radius=x, half_height=z, **look)
            elif kind == Kind.CONE:
                builder.add_shape_cone(-1, radius=x, half_height=z, **look)
            elif kind == Kind.SPHERE:
                builder.add_shape_sphere(-1, radius=x, **look)
            elif kind == Kind.CAPSULE:
                builder.add_shape_capsule(-1, radius=x, half_height=z - x, **look)
        builder.end_world()
    builder.add_ground_plane()
    model = builder.finalize(device="cpu")
    state = model.state()
    turns, places = frame.cameras()
    poses = wp.array(
        np.ascontiguousarray(np.concatenate([places, turns], -1).swapaxes(0, 1), np.float32), dtype=wp.transformf
    )
    table = np.zeros((*rays(cfg).shape[:3], 2, 3), np.float32)
    table[..., 1, :] = rays(cfg)
    table = wp.array(table, dtype=wp.vec3f)
    count = len(cfg.cameras)

    def contender(name: str, output: str, *, shadows: bool = False, textures: bool = False, tiles: bool = True):
        """The sensor in some of its settings."""
        settings = SensorTiledCamera.RenderConfig(
            enable_shadows=shadows, enable_textures=textures, max_distance=cfg.max_range
        )
        if tiles:
            settings.render_order = SensorTiledCamera.RenderOrder.TILED
            settings.tile_width = settings.tile_height = 8
        sensor = SensorTiledCamera(model, default_render_config=settings)
        images = {"depth_image": sensor.utils.create_depth_image_output(cfg.width, cfg.height, count)}
        if output != DEPTH:
            sensor.utils.create_default_light(enable_shadows=shadows)
            images["color_image"] = sensor.utils.create_color_image_output(cfg.width, cfg.height, count)
        if textures:
            sensor.utils.assign_checkerboard_material_to_all_shapes()

        def depth() -> np.ndarray:
            seen = images["depth_image"].numpy().reshape(scene.env_count, count, cfg.height, cfg.width)
            return np.where(seen <= 0.0, cfg.max_range, np.minimum(seen, cfg.max_range))

        render = lambda: sensor.update(state, poses, table, render_config=settings, **images)  # noqa: E731
        return Contender(name, output, frame.pixels, render, depth)

    yield contender("Newton, as Isaac Lab sets it", COLOR, textures=True)
    yield contender("Newton, as Isaac Lab sets it", SHADED, textures=True, shadows=True)
    yield contender("Newton, fastest", COLOR)
    yield contender("Newton, fastest", SHADED, shadows=True)
    yield contender("Newton, fastest", DEPTH)
    yield contender("Newton, rows", DEPTH, tiles=False)


def meshes(frame: Frame) -> list[tuple[np.ndarray, np.ndarray]]:
    """Each world's primitives and a ground square as one mesh: vertices [V, 3] [m] and triangles [T, 3]."""
    import trimesh

    worlds = []
    for e in range(frame.scene.env_count):
        parts = []
        for k, kind in enumerate(frame.scene.kind[e].tolist()):
            x, y, z = frame.scene.size[e, k].tolist()
            if kind == Kind.NONE:
                continue
            if kind == Kind.BOX:
                part = trimesh.creation.box((2 * x, 2 * y, 2 * z))
            elif kind == Kind.CYLINDER:
                part = trimesh.creation.cylinder(x, 2 * z, sections=24)
            elif kind == Kind.CONE:
                part = trimesh.creation.cone(x, 2 * z, sections=24)
                part.apply_translation((0, 0, -z))
            elif kind == Kind.SPHERE:
                part = trimesh.creation.icosphere(3, x)
            else:
                part = trimesh.creation.capsule(2 * (z - x), x, count=(12, 24))
                part.apply_translation(-part.bounds.mean(0))
            pose = np.eye(4)
            pose[:3, :3] = Rotation.from_quat(frame.scene.orientation[e, k].numpy()).as_matrix()
            pose[:3, 3] = frame.scene.position[e, k].numpy()
            parts.append(part.apply_transform(pose))
        ground = trimesh.Trimesh([[-60, -60, 0], [60, -60, 0], [60, 60, 0], [-60, 60, 0]], [[0, 1, 2], [0, 2, 3]])
        world = trimesh.util.concatenate([*parts, ground])
        worlds.append((world.vertices.astype(np.float32), world.faces.astype(np.int32)))
    return worlds


def embree(frame: Frame) -> Iterator[Contender]:
    """Embree 4 through embreex: one ray after the other."""
    from embreex.mesh_construction import TriangleMesh
    from embreex.rtcore_scene import EmbreeScene

    cfg, scenes = frame.cfg, []
    for vertices, faces in meshes(frame):
        scene = EmbreeScene()
        TriangleMesh(scene, vertices, faces)
        scenes.append(scene)
    directions = frame.directions()
    _, places = frame.cameras()
    per_view = cfg.width * cfg.height
    origins = np.repeat(places.astype(np.float32), per_view, 1)
    directions = directions.reshape(len(scenes), -1, 3)
    out = np.zeros((len(scenes), directions.shape[1]), np.float32)

    def render() -> None:
        for e, scene in enumerate(scenes):
            out[e] = scene.run(origins[e], directions[e], query="DISTANCE")

    shape = (len(scenes), len(cfg.cameras), cfg.height, cfg.width)
    yield Contender(
        "Embree 4 (embreex)", DEPTH, frame.pixels, render, lambda: np.minimum(out, cfg.max_range).reshape(shape)
    )


def embree_packets(frame: Frame) -> Iterator[Contender]:
    """Embree 3 in coherent packets of 4x4 pixels, where a compiler and libembree-dev are; nobody otherwise."""
    from .embree_packets import PACKET, PacketScenes, load

    cfg, interface = frame.cfg, load()
    if interface is None or cfg.width % TILE or cfg.height % TILE:
        return
    scenes, (_, places) = PacketScenes(interface, meshes(frame), cfg.max_range), frame.cameras()
    shape = (*places.shape[:2], cfg.height // TILE, TILE, cfg.width // TILE, TILE)
    tiles = frame.directions().reshape(*shape, 3).transpose(0, 1, 2, 4, 6, 3, 5)  # E, C, rows, columns, xyz, 4, 4
    tiles = np.ascontiguousarray(tiles.reshape(*places.shape[:2], -1, 3, PACKET))
    origins = np.ascontiguousarray(places, np.float32)
    out = np.zeros((*tiles.shape[:3], PACKET), np.float32)

    def render() -> None:
        for e in range(shape[0]):
            for c in range(shape[1]):
                scenes.trace(e, origins[e, c], tiles[e, c], out[e, c])

    def depth() -> np.ndarray:
        rows, columns = shape[2], shape[4]
        image = out.reshape(*shape[:2], rows, columns, TILE, TILE).transpose(0, 1, 2, 4, 3, 5)
        return np.minimum(image.reshape(*shape[:2], cfg.height, cfg.width), cfg.max_range)

    yield Contender("Embree 3, packets of 16 (C)", DEPTH, frame.pixels, render, depth)


def mujoco_rays(frame: Frame) -> Iterator[Contender]:
    """MuJoCo's mj_multiRay on the first world; its cones are convex meshes."""
    import mujoco

    scene, cfg = frame.scene, frame.cfg
    assets, geoms = [], ["<geom type='plane' size='60 60 .1'/>"]
    for k, kind in enumerate(scene.kind[0].tolist()):
        x, y, z = scene.size[0, k].tolist()
        qx, qy, qz, qw = scene.orientation[0, k].tolist()
        words = {
            Kind.BOX: f"type='box' size='{x} {y} {z}'",
            Kind.CYLINDER: f"type='cylinder' size='{x} {z}'",
            Kind.SPHERE: f"type='sphere' size='{x}'",
            Kind.CAPSULE: f"type='capsule' size='{x} {z - x}'",
        }.get(kind)
        position = scene.position[0, k].numpy().copy()
        if kind == Kind.NONE:
            continue
        if kind == Kind.CONE:
            turn = np.arange(24) * (2 * np.pi / 24)
            rim = np.stack([x * np.cos(turn), x * np.sin(turn), np.full(24, -z)], -1)
            numbers = " ".join(f"{v:.6f}" for v in np.concatenate([rim, [[0, 0, z]]]).ravel())
            assets.append(f"<mesh name='cone{k}' vertex='{numbers}' inertia='convex'/>")
            words = f"type='mesh' mesh='cone{k}'"
        place = " ".join(map(str, position))
        geoms.append(f"<geom {words} pos='{place}' quat='{qw} {qx} {qy} {qz}'/>")
    model = mujoco.MjModel.from_xml_string(
        f"<mujoco><asset>{''.join(assets)}</asset><worldbody>{''.join(geoms)}</worldbody></mujoco>"
    )
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    count, per_view = len(cfg.cameras), cfg.width * cfg.height
    directions = frame.directions()[0].astype(float).reshape(count, -1)
    _, places = frame.cameras()
    geom, distance = np.zeros(per_view, np.int32), np.zeros(per_view)

    def render() -> None:
        for c in range(count):
            mujoco.mj_multiRay(
                model, data, places[0, c], directions[c], None, 1, -1, geom, distance, None, per_view, cfg.max_range
            )

    yield Contender("MuJoCo mj_multiRay", DEPTH, count * per_view, render)


PEERS = (newton, embree, embree_packets, mujoco_rays)
"""Makers of the renderers that ours is compared with, besides Isaac Lab's cameras."""
