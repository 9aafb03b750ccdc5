"""The clearance kernel against a float64 reference, closed forms, and what must hold of any distance."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import warp as wp
from clearance_reference import project, rotation_matrices, swept_distance
from hypothesis import given, settings
from hypothesis import strategies as st

from mmnav.robot import ROBOT
from mmnav.scenes import clearance
from mmnav.scenes.batch import Kind, SceneBatch
from mmnav.scenes.clearance import TOLERANCE, Clearance

pytestmark = pytest.mark.unit

HALF = np.array(ROBOT.half_extents)
KINDS = [Kind.BOX, Kind.CYLINDER, Kind.CONE, Kind.SPHERE, Kind.CAPSULE]
UPRIGHT = (0.0, 0.0, 0.0, 1.0)
ON_DEVICES = pytest.mark.parametrize(
    "device", ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA"))]
)
EXACT = 2 * TOLERANCE
"""The duality gap and as much again for rounding [m]; the promise is 1 mm."""


def scene_of(kind, position, orientation, size, device: str = "cpu") -> SceneBatch:
    """Worlds of given primitives, shapes [E, K(, 3 or 4)]; what clearance does not depend on is zero."""
    tensor = lambda x: torch.tensor(np.ascontiguousarray(x), dtype=torch.float32, device=device)  # noqa: E731
    kind, position = torch.tensor(np.asarray(kind), dtype=torch.int32, device=device), tensor(position)
    zeros = lambda *shape: torch.zeros(kind.shape[0], *shape, device=device)  # noqa: E731
    k = kind.shape[1]
    return SceneBatch(
        kind=kind,
        position=position,
        orientation=tensor(orientation),
        size=tensor(size),
        waypoints=position[:, :, None].clone(),
        speed=zeros(k),
        color=zeros(k, 3),
        texture=zeros(k).int(),
        bounds=zeros(4),
        start=zeros(3),
        goal=zeros(2),
        seed=zeros().long(),
        difficulty=zeros(),
    )


def measure(
    scene: SceneBatch, position, orientation, way=None, own_way=None, max_distance: float = 2.0
) -> tuple[np.ndarray, np.ndarray]:
    """Clearances of robots at the given poses, shapes [E], in float64."""
    tensor = lambda x: None if x is None else torch.tensor(np.array(x), dtype=torch.float32, device=scene.device)  # noqa: E731
    distance, geom = Clearance(scene, max_distance=max_distance).update(
        tensor(position), tensor(orientation), scene.position, tensor(way), tensor(own_way)
    )
    return distance.cpu().numpy().astype(float), geom.cpu().numpy()


def single(x: np.ndarray) -> np.ndarray:
    """Rounds to float32, so that kernel and reference see the same numbers."""
    return x.astype(np.float32).astype(np.float64)


def random_quaternions(rng: np.random.Generator, *shape: int, aligned: float = 0.5) -> np.ndarray:
    """Unit quaternions; a share is turned about z alone by multiples of 45 degrees, for parallel faces."""
    q = rng.normal(size=(*shape, 4))
    yaw = rng.integers(0, 8, shape) * np.pi / 8
    flat = np.stack([0 * yaw, 0 * yaw, np.sin(yaw), np.cos(yaw)], -1)
    q = np.where(rng.random((*shape, 1)) < aligned, flat, q)
    return single(q / np.linalg.norm(q, axis=-1, keepdims=True))


def random_sizes(rng: np.random.Generator, kind: np.ndarray, largest: float = 6.0) -> np.ndarray:
    """Half extents from millimetres to walls, as the kinds want them."""
    size = np.exp(rng.uniform(np.log(0.005), np.log(largest), (*kind.shape, 3)))
    size[..., :2] = np.where((kind == Kind.BOX)[..., None], size[..., :2], np.minimum(size[..., :1], 2.0))
    size[..., 2] = np.where(kind == Kind.SPHERE, size[..., 0], size[..., 2])
    size[..., 2] += np.where(kind == Kind.CAPSULE, size[..., 0], 0.0)
    return single(size)


def random_pairs(kind: Kind, count: int, seed: int) -> tuple[np.ndarray, ...]:
    """Sizes, positions, orientations of primitives and poses of robots that are at most about 1.4 m away."""
    rng = np.random.default_rng(seed)
    size = random_sizes(rng, np.full(count, kind))
    orientation, robot_orientation = random_quaternions(rng, count), random_quaternions(rng, count)
    robot_position = single(rng.uniform(-6, 6, (count, 3)))
    away = rng.normal(size=(count, 3))
    away *= rng.uniform(0, 1.4, (count, 1)) / np.linalg.norm(away, axis=1, keepdims=True)
    corner = np.einsum("nij,nj->ni", rotation_matrices(orientation), rng.uniform(-1, 1, (count, 3)) * size)
    return size, single(robot_position + away - corner), orientation, robot_position, robot_orientation


@ON_DEVICES
@pytest.mark.parametrize("is_swept", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_agrees_with_the_reference(kind: Kind, is_swept: bool, device: str):
    """Every kind in any orientation, near and far, thin and huge, is at the distance that float64 finds."""
    count = 800
    size, position, orientation, robot_position, robot_orientation = random_pairs(kind, count, seed=int(kind))
    rng = np.random.default_rng(99)
    way = single(rng.normal(size=(count, 3)) * np.exp(rng.uniform(np.log(1e-3), np.log(3.0), (count, 1)))) * is_swept
    position = single(position + rng.uniform(0, 1, (count, 1)) * way)  # nearest anywhere on its way
    upper, lower = swept_distance(
        kind, size, position, orientation, robot_position, robot_orientation, HALF, way, iterations=1500
    )
    assert ((upper - lower)[upper > 1e-3] < 1e-4).all(), "the reference has not converged"
    assert (upper < 1e-4).mean() > 0.1 and (upper > 0.05).mean() > 0.3, "the pairs are too much alike"

    scene = scene_of(np.full((count, 1), kind), position[:, None], orientation[:, None], size[:, None], device)
    distance, geom = measure(scene, robot_position, robot_orientation, way[:, None] if is_swept else None)
    np.testing.assert_allclose(distance, np.minimum(upper, 2.0), rtol=0, atol=EXACT)
    assert ((geom == 0) == (distance < 2.0)).all()


@ON_DEVICES
@pytest.mark.parametrize("flat", ["", "xyz", "z", "xy"])
@pytest.mark.parametrize("kind", KINDS)
def test_bodies_with_a_common_point_are_at_exactly_zero(kind: Kind, flat: str, device: str):
    """Overlap is 0.0 for grazing and contained bodies, for points, discs and segments, and anywhere on the way."""
    count = 2000
    size, _, orientation, robot_position, robot_orientation = random_pairs(kind, count, seed=10 + int(kind))
    if kind in (Kind.SPHERE, Kind.CAPSULE) and flat == "z":
        flat = "xyz"  # a sphere's and a capsule's half height cannot be less than the radius
    size[:, ["xyz".index(axis) for axis in flat]] = 0.0
    rng = np.random.default_rng(5)
    depth = rng.choice([0.0, 0.9, 1.0], (count, 1))  # at the centres, inside, on the surfaces
    in_robot = rng.uniform(-1, 1, (count, 3)) * HALF * depth
    in_geom = project(kind, rng.uniform(-1, 1, (count, 3)) * size, size) * depth
    way = rng.normal(size=(count, 3))
    common = robot_position + np.einsum("nij,nj->ni", rotation_matrices(robot_orientation), in_robot)
    position = common - np.einsum("nij,nj->ni", rotation_matrices(orientation), in_geom)
    position += rng.uniform(0, 1, (count, 1)) * way

    scene = scene_of(np.full((count, 1), kind), position[:, None], orientation[:, None], size[:, None], device)
    distance, geom = measure(scene, robot_position, robot_orientation, way[:, None])
    assert (distance == 0.0).all() and (geom == 0).all()


@ON_DEVICES
@pytest.mark.parametrize(
    ("kind", "size", "position", "orientation", "robot_position", "robot_orientation", "way"),
    [
        (  # 1.1 mm if the cone is not cut to the robot's neighbourhood
            Kind.CONE,
            (0.064454988, 0.064454988, 4.910806656),
            (4.997039795, 3.255458355, -7.326826572),
            (-0.025556568, 0.014375133, 0.721614659, -0.691673696),
            (5.309440613, 3.281782866, -5.919160366),
            (0.448471665, -0.150662169, -0.260156572, -0.841720045),
            (0.0, 0.0, 0.0),
        ),
        (  # 2.1 mm if the box is not
            Kind.BOX,
            (0.075706325, 5.965041161, 0.047900062),
            (-3.517908573, 5.144800663, -2.396628618),
            (0.748069823, 0.43765381, -0.04692471, 0.496637464),
            (-2.600226641, 5.18130064, -2.095472574),
            (-0.046002734, 0.111753069, 0.942929268, -0.310289234),
            (0.059504524, 0.228853375, 0.139042333),
        ),
        (  # 0.4 mm if the search follows the nearest point where the face's normal is more certain
            Kind.CYLINDER,
            (2.0, 2.0, 2.22341442),
            (-0.89004004, -0.579857111, 4.59020805),
            (0.603601515, -0.418978423, 0.139916703, -0.663736105),
            (0.198901564, -2.537673, 5.62210512),
            (0.249184012, -0.0408470258, -0.958808839, -0.130093873),
            (0.000507227262, -0.00145032536, -0.0016521113),
        ),
    ],
)
def test_rounding_does_not_part_bodies_that_overlap(
    kind: Kind, size, position, orientation, robot_position, robot_orientation, way, device: str
):
    """Of 240,000 random pairs the worst for a GJK without care for float32: each overlaps, and was found apart."""
    scene = scene_of([[kind]], [[position]], [[orientation]], [[size]], device)
    assert measure(scene, [robot_position], [robot_orientation], [[way]])[0] == 0.0


TILTED = (0.0, np.sin(np.pi / 8), 0.0, np.cos(np.pi / 8))  # by 45 degrees about y


@ON_DEVICES
@pytest.mark.parametrize(
    ("kind", "position", "orientation", "size", "expected"),
    [
        (Kind.BOX, (0.85, 0.0, 0.25), UPRIGHT, (0.2, 0.5, 0.25), 0.3),  # parallel faces
        (Kind.BOX, (0.0, 0.505, 0.5), UPRIGHT, (6.0, 0.05, 0.5), 0.3),  # a wall
        (Kind.BOX, (0.55, 0.0, 0.25), UPRIGHT, (0.2, 0.5, 0.25), 0.0),  # touching faces
        (Kind.BOX, (0.0, 0.0, 0.25), UPRIGHT, (6.0, 6.0, 6.0), 0.0),  # inside
        (Kind.BOX, (0.75, 0.455, 0.25), UPRIGHT, (0.1, 0.1, 1.0), np.hypot(0.3, 0.2)),  # parallel edges
        (Kind.BOX, (1.35, 0.0, 0.25), TILTED, (0.5, 0.3, 0.5), 1.0 - 0.5 * 2**0.5),  # face and edge
        (Kind.CYLINDER, (0.75, 0.0, 0.5), UPRIGHT, (0.1, 0.1, 0.5), 0.3),
        (Kind.CYLINDER, (0.0, 0.0, 1.0), UPRIGHT, (2.0, 2.0, 0.25), 0.3),  # a disc overhead
        (Kind.CONE, (0.0, 0.0, -0.75), UPRIGHT, (0.3, 0.3, 0.5), 0.3),  # apex below the belly
        (Kind.CONE, (0.75, 0.0, 0.75), UPRIGHT, (0.1, 0.1, 0.5), 0.3),  # rim
        (Kind.SPHERE, (0.65, 0.555, 0.25), UPRIGHT, (0.1, 0.1, 0.1), 0.4),  # 3-4-5 from the vertical edge
        (Kind.CAPSULE, (0.65, 0.0, 1.25), UPRIGHT, (0.1, 0.1, 0.5), 0.4),  # 3-4-5 from the upper edge
    ],
)
def test_closed_forms(kind: Kind, position, orientation, size, expected: float, device: str):
    scene = scene_of([[kind]], [[position]], [[orientation]], [[size]], device)
    distance, geom = measure(scene, [(0.0, 0.0, ROBOT.center_height)], [UPRIGHT])
    assert distance[0] == pytest.approx(expected, abs=EXACT) and geom[0] == 0
    assert expected > 0.0 or distance[0] == 0.0


@settings(deadline=None, max_examples=200)
@given(
    offset=st.tuples(*[st.floats(-1.5, 1.5, width=32)] * 3),
    size=st.tuples(*[st.one_of(st.just(0.0), st.floats(0, 8, width=32))] * 3),
)
def test_aligned_boxes_follow_the_closed_form(offset, size):
    """Boxes of any size, flat ones too, anywhere: the distance along each axis, if any, adds in squares."""
    offset = np.array(offset) * (1 + np.array(size))
    expected = np.linalg.norm(np.maximum(np.abs(offset) - HALF - size, 0.0))
    distance, _ = measure(scene_of([[Kind.BOX]], [[offset]], [[UPRIGHT]], [[size]]), [(0, 0, 0)], [UPRIGHT])
    assert distance[0] == pytest.approx(min(expected, 2.0), abs=EXACT)
    assert expected > 0.0 or distance[0] == 0.0


def cluttered_worlds(env_count: int, geom_count: int, seed: int, device: str = "cpu") -> SceneBatch:
    """Worlds of all kinds, unused slots among them, spread so that some robots touch and some have nothing near."""
    rng = np.random.default_rng(seed)
    kind = rng.integers(0, 6, (env_count, geom_count))
    spread = rng.uniform(0.5, 6.0, (env_count, 1, 1))
    position = single(rng.uniform(-1, 1, (env_count, geom_count, 3)) * spread)
    position[kind == Kind.NONE] = 0.0  # unused, but where the robot is
    orientation = random_quaternions(rng, env_count, geom_count)
    return scene_of(kind, position, orientation, random_sizes(rng, kind, largest=0.8), device)


@ON_DEVICES
def test_the_nearest_of_many_is_named(device: str):
    """Index and distance are those of the nearest primitive by the reference; unused slots are nowhere."""
    e, k = 150, 12
    scene = cluttered_worlds(e, k, seed=3, device=device)
    rng = np.random.default_rng(4)
    robot_position, robot_orientation = single(rng.uniform(-0.3, 0.3, (e, 3))), random_quaternions(rng, e)
    kind = scene.kind.cpu().numpy()
    size, position, orientation = (
        x.cpu().numpy().astype(float) for x in (scene.size, scene.position, scene.orientation)
    )
    expected = np.full((e, k), np.inf)
    for some in KINDS:
        env, geom = np.nonzero(kind == some)
        poses = position[env, geom], orientation[env, geom], robot_position[env], robot_orientation[env]
        expected[env, geom] = swept_distance(
            some, size[env, geom], *poses, HALF, np.zeros((len(env), 3)), iterations=600
        )[0]

    distance, geom = measure(scene, robot_position, robot_orientation)
    nearest = expected.min(1)
    np.testing.assert_allclose(distance, np.minimum(nearest, 2.0), rtol=0, atol=EXACT)
    is_near = nearest < 2.0 - EXACT
    assert (geom[nearest > 2.0 + EXACT] == -1).all() and 0.2 < is_near.mean() < 1.0
    np.testing.assert_allclose(expected[is_near, geom[is_near]], nearest[is_near], rtol=0, atol=2 * EXACT)
    assert len(np.unique(geom)) == k + 1, "every slot is nearest somewhere"


@ON_DEVICES
def test_range_caps_the_distance_and_changes_nothing_below(device: str):
    scene = cluttered_worlds(200, 12, seed=8, device=device)
    pose = np.zeros((200, 3)), np.tile(UPRIGHT, (200, 1))
    far, far_geom = measure(scene, *pose, max_distance=10.0)
    near, near_geom = measure(scene, *pose, max_distance=0.5)
    np.testing.assert_allclose(near, np.minimum(far, 0.5), rtol=0, atol=EXACT)
    assert (near_geom[far > 0.5 + EXACT] == -1).all() and (near_geom[far < 0.5 - EXACT] >= 0).all()
    assert (near[near_geom == -1] == 0.5).all() and (far_geom >= 0).mean() > 0.9


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 2**31))
def test_rigid_motion_of_everything_changes_nothing(seed: int):
    e, k = 20, 8
    scene = cluttered_worlds(e, k, seed)
    rng = np.random.default_rng(seed)
    robot_position, robot_orientation = rng.uniform(-0.3, 0.3, (e, 3)), random_quaternions(rng, e)
    way, own_way = rng.normal(0, 0.1, (e, k, 3)), rng.normal(0, 0.1, (e, 3))
    turn, shift = random_quaternions(rng, 1, aligned=0.0)[0], rng.uniform(-5, 5, 3)
    matrix = rotation_matrices(turn[None])[0]

    def turned(q: np.ndarray) -> np.ndarray:
        vector = turn[3] * q[..., :3] + q[..., 3:] * turn[:3] + np.cross(turn[:3], q[..., :3])
        return np.concatenate([vector, turn[3] * q[..., 3:] - (q[..., :3] @ turn[:3])[..., None]], -1)

    before, _ = measure(scene, robot_position, robot_orientation, way, own_way)
    moved = scene_of(
        scene.kind.numpy(), scene.position.numpy() @ matrix.T + shift, turned(scene.orientation.numpy()), scene.size
    )
    after, _ = measure(
        moved, robot_position @ matrix.T + shift, turned(robot_orientation), way @ matrix.T, own_way @ matrix.T
    )
    np.testing.assert_allclose(after, before, rtol=0, atol=EXACT)


@ON_DEVICES
@pytest.mark.parametrize("kind", [Kind.CYLINDER, Kind.CAPSULE, Kind.BOX])
@pytest.mark.parametrize("who", ["stick", "robot", "both"])
def test_a_thin_stick_cannot_pass_between_two_steps(kind: Kind, who: str, device: str):
    """A stick that is clear of the robot before and after a step, but was inside during it, is a collision."""
    robot = np.array([0.0, 0.0, ROBOT.center_height])
    stick, way = np.array([0.1, 0.5, 0.6]), np.array([0.0, 1.0, 0.0])
    share = {"stick": 1.0, "robot": 0.0, "both": 0.4}[who]
    ways = [[way * share]], [-way * (1.0 - share)]
    for x, expected in ((0.1, 0.0), (0.1 + 0.35, 0.1 - 0.015)):  # through the middle; past the front
        stick[0] = x
        scene = scene_of([[kind]], [[stick]], [[UPRIGHT]], [[(0.015, 0.015, 0.6)]], device)
        before = scene_of([[kind]], [[stick - way]], [[UPRIGHT]], [[(0.015, 0.015, 0.6)]], device)
        assert measure(scene, [robot], [UPRIGHT])[0] > 0.3 and measure(before, [robot], [UPRIGHT])[0] > 0.3
        swept = measure(scene, [robot], [UPRIGHT], *ways)[0][0]
        assert swept == (0.0 if expected == 0.0 else pytest.approx(expected, abs=EXACT))


@ON_DEVICES
def test_sweep_is_the_least_distance_over_the_step(device: str):
    """Among 401 instants between the step's ends none is nearer than the sweep, and one is as near."""
    e, k, instants = 40, 6, 401
    scene = cluttered_worlds(e, k, seed=21, device=device)
    rng = np.random.default_rng(22)
    position, orientation = rng.uniform(-0.3, 0.3, (e, 3)), random_quaternions(rng, e)
    way, own_way = rng.normal(0, 0.1, (e, k, 3)), rng.normal(0, 0.1, (e, 3))
    swept, _ = measure(scene, position, orientation, way, own_way)
    back = np.linspace(0, 1, instants)[:, None, None, None] * way  # [T, E, K, 3]
    own_back = np.linspace(0, 1, instants)[:, None, None] * own_way
    dense = SceneBatch.cat([scene] * instants)
    dense.position -= torch.tensor(back.reshape(-1, k, 3), dtype=torch.float32, device=device)
    plain, _ = measure(dense, (position - own_back).reshape(-1, 3), np.tile(orientation, (instants, 1)))
    least = plain.reshape(instants, e).min(0)
    assert (plain.reshape(instants, e)[0] - least).max() > 0.05, "the ways are too short to tell"
    np.testing.assert_allclose(swept, least, rtol=0, atol=1e-3)


@ON_DEVICES
def test_only_relative_displacement_counts(device: str):
    scene = cluttered_worlds(100, 8, seed=30, device=device)
    rng = np.random.default_rng(31)
    pose = rng.uniform(-0.3, 0.3, (100, 3)), random_quaternions(rng, 100)
    way = rng.normal(0, 0.2, (100, 3))
    plain, together, zero = (
        measure(scene, *pose),
        measure(scene, *pose, np.repeat(way[:, None], 8, 1), way),
        measure(scene, *pose, np.zeros((100, 8, 3)), np.zeros((100, 3))),
    )
    assert (plain[0] == together[0]).all() and (plain[0] == zero[0]).all() and (plain[1] == together[1]).all()
    assert np.abs(plain[0] - measure(scene, *pose, None, way)[0]).max() > 0.05


@ON_DEVICES
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("where", ["position", "orientation", "own_way", "geom", "geom_orientation", "way"])
def test_what_is_not_finite_is_a_collision_in_its_world_alone(where: str, bad: float, device: str):
    e, k = 60, 8
    scene = cluttered_worlds(e, k, seed=40, device=device)
    scene.kind[7, 2] = Kind.BOX
    scene.kind[7, 3], scene.position[7, 3], scene.orientation[7, 3] = Kind.NONE, np.nan, np.nan
    rng = np.random.default_rng(41)
    arguments = {
        "position": rng.uniform(-6, 6, (e, 3)),
        "orientation": random_quaternions(rng, e),
        "way": rng.normal(0, 0.1, (e, k, 3)),
        "own_way": rng.normal(0, 0.1, (e, 3)),
    }
    arguments["position"][7] = 50.0  # where nothing is near
    good, good_geom = measure(scene, **arguments)
    assert good[7] == 2.0
    if where == "geom":
        scene.position[7, 2, 1] = bad
    elif where == "geom_orientation":
        scene.orientation[7, 2, 1] = bad
    elif where == "way":
        arguments["way"][7, 2, 1] = bad
    else:
        arguments[where][7, 1] = bad
    distance, geom = measure(scene, **arguments)
    others = np.arange(e) != 7
    assert distance[7] == 0.0 and geom[7] == (2 if "geom" in where or where == "way" else -1)
    assert (distance[others] == good[others]).all() and (geom[others] == good_geom[others]).all()


@ON_DEVICES
def test_new_worlds_assigned_in_place_are_seen(device: str):
    scene, others = (cluttered_worlds(30, 8, seed, device) for seed in (50, 51))
    pose = torch.zeros(30, 3, device=device), torch.tensor([UPRIGHT] * 30, device=device)
    tracked = Clearance(scene)
    distance, geom = tracked.update(*pose, scene.position)
    old = distance.clone()
    new = Clearance(others).update(*pose, others.position)[0]
    env_ids = torch.arange(0, 30, 3, device=device)
    scene.assign(env_ids, others[env_ids])
    tracked.update(*pose, scene.position)
    assert distance is tracked.distance and geom is tracked.geom
    assert torch.equal(distance[env_ids], new[env_ids]) and not torch.equal(old[env_ids], new[env_ids])
    kept = torch.arange(30, device=device) % 3 != 0
    assert torch.equal(distance[kept], old[kept])


def test_a_wrong_shape_is_named():
    scene = cluttered_worlds(5, 4, seed=1)
    robots, quaternions = torch.zeros(5, 3), torch.zeros(5, 4)
    with pytest.raises(ValueError, match=r"robot_displacement has shape \[1, 3\].*\[5, 3\]"):
        Clearance(scene).update(robots, quaternions, scene.position, None, torch.zeros(1, 3))
    with pytest.raises(ValueError, match="geom_position"):
        Clearance(scene).update(robots, quaternions, scene.position[:, :3])


def test_kernel_compiles_for_a_gpu(tmp_path):
    """NVRTC needs no GPU: what it refuses would fail on the first machine that has one."""
    wp.init()
    if not wp.get_cuda_supported_archs():
        pytest.skip("Warp without NVRTC")
    files = wp.compile_aot_module(clearance, device=None, arch=86, module_dir=tmp_path, use_ptx=True)
    assert any("_clearance" in file.read_text(errors="ignore") for file in files if file.suffix == ".ptx")
