"""The planner: occupancy, distance to go, plans in space and time, and the policy that follows them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import dijkstra
from scipy.spatial.transform import Rotation

from mmnav.robot import ROBOT
from mmnav.scenes import avoid, mixed, reach, squeeze
from mmnav.scenes.batch import Kind, SceneBatch
from mmnav.scenes.clearance import Clearance
from mmnav.scenes.geodesic import geodesic, path_length
from mmnav.scenes.motion import advance
from mmnav.scenes.occupancy import BODY_BAND, Footprint, Grid, occupancy
from mmnav.scenes.oracle import OraclePolicy, SearchCfg, solve

GENERATORS = {
    "reach": (reach.generate, reach.ReachCfg()),
    "squeeze": (squeeze.generate, squeeze.SqueezeCfg()),
    "avoid": (avoid.generate, avoid.AvoidCfg()),
    "mixed": (mixed.generate, mixed.MixedCfg()),
}


def _points(scene: SceneBatch, count: int) -> torch.Tensor:
    """Random points of every primitive, relative to its centre, in world axes [m], shape [E, K, count, 3].

    They depend on nothing but the definition of the kinds. Points of an unused slot are far away.
    """
    rng = np.random.default_rng(0)
    cube = rng.uniform(-1.0, 1.0, (count, 3))
    cube[: count // 2][np.arange(count // 2), rng.integers(0, 3, count // 2)] = rng.choice([-1.0, 1.0], count // 2)
    ring = cube[:, :2] * (np.abs(cube[:, :2]).max(1) / np.linalg.norm(cube[:, :2], axis=1))[:, None]
    ball = cube * (np.abs(cube).max(1) / np.linalg.norm(cube, axis=1))[:, None]
    unit = {
        Kind.BOX: cube,
        Kind.CYLINDER: np.c_[ring, cube[:, 2]],
        Kind.CONE: np.c_[ring * (1.0 - cube[:, 2:]) / 2.0, cube[:, 2]],
        Kind.SPHERE: ball,
    }
    points = np.full((*scene.kind.shape, count, 3), 1.0e3)
    size, q = scene.size.double().numpy(), scene.orientation.double().numpy()
    for e, k in zip(*np.nonzero(scene.kind.numpy()), strict=True):
        kind = Kind(int(scene.kind[e, k]))
        if kind == Kind.CAPSULE:
            shaft = max(size[e, k, 2] - size[e, k, 0], 0.0)
            local = ball * size[e, k, 0] + np.c_[np.zeros((count, 2)), rng.uniform(-shaft, shaft, count)]
        else:
            local = unit[kind] * size[e, k]
        v, w = q[e, k, :3], q[e, k, 3]
        points[e, k] = local + 2.0 * np.cross(v, np.cross(v, local) + w * local)
    return torch.from_numpy(points).float()


def _gap(scene: SceneBatch, points: torch.Tensor, time: torch.Tensor, pose: torch.Tensor) -> torch.Tensor:
    """Distance of the nearest of the primitives' points to the robot's cuboid [m], shape [E]; negative inside."""
    position, velocity = torch.empty_like(scene.position), torch.empty_like(scene.position)
    advance(scene, time, position, velocity)
    center = torch.cat((pose[:, :2], torch.full((len(pose), 1), ROBOT.center_height)), 1)
    offset = position[:, :, None] + points - center[:, None, None]
    cos, sin = pose[:, 2, None, None].cos(), pose[:, 2, None, None].sin()
    x, y = cos * offset[..., 0] + sin * offset[..., 1], cos * offset[..., 1] - sin * offset[..., 0]
    beyond = torch.stack((x, y, offset[..., 2]), -1).abs() - torch.tensor(ROBOT.half_extents)
    distance = beyond.clamp(min=0.0).norm(dim=-1) + beyond.amax(-1).clamp(max=0.0)
    return distance.flatten(1).amin(1)


def _drive(scene: SceneBatch, policy: OraclePolicy, horizon: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Simulates robots with lag and acceleration limits; returns the least clearance [m] and whether they arrived."""
    dt, lag, limit = 0.02, 0.2, torch.tensor([1.5, 1.5, 6.0])
    env_count, zero = scene.env_count, torch.zeros(scene.env_count)
    clearance, position = Clearance(scene), torch.empty_like(scene.position)
    pose, velocity = scene.start.clone(), torch.zeros(env_count, 3)
    least, arrived = torch.full((env_count,), torch.inf), torch.zeros(env_count, dtype=torch.bool)
    for i in range(int(horizon / dt)):
        time = torch.full((env_count,), i * dt)
        if i % 5 == 0:
            command = policy(time, pose)
        velocity = velocity + ((command - velocity) / lag).clamp(-limit, limit) * dt
        cos, sin = pose[:, 2].cos(), pose[:, 2].sin()
        ahead, aside, turn = velocity.unbind(-1)
        pose = pose + torch.stack((cos * ahead - sin * aside, sin * ahead + cos * aside, turn), -1) * dt
        advance(scene, time + dt, position, torch.empty_like(position))
        center = torch.stack((pose[:, 0], pose[:, 1], zero + ROBOT.center_height), -1)
        orientation = torch.stack((zero, zero, (pose[:, 2] / 2).sin(), (pose[:, 2] / 2).cos()), -1)
        distance = clearance.update(center, orientation, position)[0]
        least = torch.where(arrived, least, torch.minimum(least, distance))
        arrived |= (pose[:, :2] - scene.goal).norm(dim=-1) < 0.3
        if bool(arrived.all()):
            break
    return least, arrived


def _wall(x: float, low: float, high: float) -> list[dict]:
    """Wall across the arena of ``world`` at x, open from y = low to high."""
    return [
        {"center": (x, (low - 3.0) / 2, 0.5), "half": (0.06, (low + 3.0) / 2, 0.5)},
        {"center": (x, (high + 3.0) / 2, 0.5), "half": (0.06, (3.0 - high) / 2, 0.5)},
    ]


@pytest.mark.parametrize("kind", [k for k in Kind if k != Kind.NONE])
def test_occupancy_is_the_part_in_the_band_grown_by_the_footprint(world, kind):
    """Cells are blocked where a sampled point of the primitive is within the footprint, and nowhere far from one."""
    rng = np.random.default_rng(int(kind))
    geoms = []
    for i in range(6):
        half = rng.uniform(0.08, 0.3, 3)
        if kind != Kind.BOX:
            half[1:] = half[0], half[0] + (kind != Kind.SPHERE) * half[2]
        center = (0.0, 0.0, rng.uniform(0.1, 0.7))
        geoms.append({"kind": kind, "center": center, "half": half, "yaw": 2.0 * i, "tilt": (i > 1) * 0.5 * i})
    scene = SceneBatch.cat([world(g, start=(-1.5, 0.0, 0.0), bounds=(-2.0, -2.0, 2.0, 2.0)) for g in geoms])
    grid = Grid.over(scene, (0.1, 0.1))
    points = scene.position[:, :1, None] + _points(scene, 8000)[:, :1]
    cells = grid.points()
    window = cells.abs().amax(-1) < 1.0
    for footprint in (Footprint.rectangle(0.02), Footprint.disc(0.155)):
        rectangle = torch.tensor([footprint.half_length, footprint.half_width])
        blocked = occupancy(scene, grid, footprint).bool()
        found = 0
        for env in range(scene.env_count):
            near = points[env, 0]
            near = near[(near[:, 2] > BODY_BAND[0]) & (near[:, 2] < BODY_BAND[1]), :2]
            near = torch.cat((near, torch.full((1, 2), 100.0)))  # for primitives above the band
            beyond = ((cells[env][window[env]][:, None] - near).abs() - rectangle).clamp(min=0.0)
            gap = beyond.norm(dim=-1).amin(1) - footprint.radius
            hit = blocked[env][window[env]]
            assert bool(hit[gap < -1.0e-4].all())
            assert len(near) < 1000 or not bool(hit[gap > 0.025].any())
            found += int((gap < -1.0e-4).sum())
        assert found > 50


def test_occupancy_of_a_turned_box_is_exact(world):
    """A cell is blocked just up to the place where the faces of an upright box and of the rectangle meet."""
    face = 0.35 + np.cos(0.5) * 0.4 + np.sin(0.5) * 0.2  # of the box's easternmost corner
    for slack, expected in ((-2.0e-4, 1), (2.0e-4, 0)):
        scene = world({"center": (0.0, 0.0, 0.3), "half": (0.4, 0.2, 0.3), "yaw": 0.5}, start=(face + slack, 0.0, 0.0))
        grid = Grid.over(scene, (0.1, 0.1))
        row, column = grid.start[0]
        assert occupancy(scene, grid, Footprint.rectangle())[0, row, column] == expected


def test_occupancy_beside_a_tilted_stick_is_exact(world):
    """The sides of a long leaning stick block just up to its radius: directions round the circle would not do."""
    stick = {"kind": Kind.CAPSULE, "center": (0.0, 0.0, 0.25), "half": (0.02, 0.02, 1.0), "yaw": 0.5, "tilt": 1.4}
    for slack, expected in ((-2.0e-4, 1), (2.0e-4, 0)):
        aside = 0.02 + 0.155 + slack
        scene = world(stick, start=(float(np.cos(0.5)) * aside, float(np.sin(0.5)) * aside, 0.0))
        # Rolled about its own axis it is the same stick, but no local axis other than its own helps to find its sides.
        scene.orientation[0, 0] = torch.from_numpy(Rotation.from_euler("ZXZ", [0.5, 1.4, 0.7]).as_quat())
        grid = Grid.over(scene, (0.1, 0.1))
        row, column = grid.start[0]
        assert occupancy(scene, grid, Footprint.disc(0.155))[0, row, column] == expected


def test_geodesic_of_an_empty_arena_is_euclid(world):
    """Without obstacles the distance to go is the straight line's within 2 %."""
    scene = world(goal=(5.03, 1.01))
    field = geodesic(scene)
    points = field.grid.points()
    euclid = (points - scene.goal[:, None, None]).norm(dim=-1)
    inside = field.value.isfinite()
    half_width = ROBOT.half_extents[1]
    expected = (points >= scene.bounds[:, :2] + half_width) & (points <= scene.bounds[:, 2:] - half_width)
    assert torch.equal(inside, expected.all(-1))
    torch.testing.assert_close(field.value[inside], euclid[inside], rtol=0.02, atol=1.0e-3)
    assert path_length(scene).item() == pytest.approx(np.hypot(5.03, 1.01), rel=0.02)


def test_geodesic_agrees_with_dijkstra():
    """Among clutter it reaches the same cells as a graph search and is no longer, nor shorter than the grid's error."""
    scene = reach.generate(reach.ReachCfg(), np.array([3]))
    field = geodesic(scene, cell=0.1)
    free = occupancy(scene, field.grid, Footprint.disc(0.155))[0].numpy() == 0
    rows, columns = free.shape
    index = np.arange(free.size).reshape(free.shape)
    ends, lengths = [], []
    for dy, dx in ((0, 1), (1, 0), (1, 1), (1, -1)):
        a = (slice(0, rows - dy), slice(max(-dx, 0), columns - max(dx, 0)))
        b = (slice(dy, rows), slice(max(dx, 0), columns - max(-dx, 0)))
        both = free[a] & free[b]
        if dx and dy:  # no cutting of corners
            both &= free[a[0], b[1]] & free[b[0], a[1]]
        ends.append(np.stack((index[a][both], index[b][both])))
        lengths.append(np.full(both.sum(), 0.1 * np.hypot(dx, dy)))
    graph = coo_matrix((np.concatenate(lengths), np.concatenate(ends, 1)), shape=(free.size, free.size))
    cell = int((field.grid.points()[0] - scene.goal[0]).norm(dim=-1).flatten().argmin())
    expected = dijkstra(graph.tocsr(), directed=False, indices=cell)
    ours = field.value[0].flatten().numpy()
    np.testing.assert_array_equal(np.isfinite(ours), np.isfinite(expected))
    reached = np.isfinite(ours)
    assert reached.mean() > 0.5
    assert np.all(ours[reached] <= 1.02 * expected[reached] + 0.1)
    assert np.all(ours[reached] >= expected[reached] / 1.0824 - 0.1)


def test_distance_field_interpolates(world):
    """Between cells the field follows the distance, beside a wall too, and is infinite inside it."""
    scene = SceneBatch.cat([world(*_wall(3.0, -0.5, 0.5))] * 3)
    at = geodesic(scene).at(torch.tensor([[4.513, 0.022], [3.23, 2.0], [3.0, 2.0]]))
    torch.testing.assert_close(at[0], torch.tensor(6.0 - 4.513), rtol=0.0, atol=0.02)
    torch.testing.assert_close(at[1], torch.tensor(np.hypot(2.77, 2.0)).float(), rtol=0.02, atol=0.02)
    assert at[2].isinf()


@pytest.mark.parametrize(("width", "passes"), [(0.45, True), (0.36, True), (0.29, False)])
def test_gap_lets_the_robot_through_only_if_wide_enough(world, width, passes):
    """One gap in a wall: wider than the robot it is passed, narrower it is not, by the disc neither."""
    scene = world(*_wall(3.0, 1.0, 1.0 + width))
    plan = solve(scene, SearchCfg(margin=0.0 if width < 0.4 else 0.02))
    assert bool(plan.solvable[0]) == passes
    assert bool(path_length(scene).isfinite()[0]) == passes
    if passes:
        inside = (plan.waypoints[0, :, 0] - 3.0).abs() < 0.3
        assert bool(((plan.waypoints[0, inside, 1] - 1.0 - width / 2).abs() <= (width - 0.31) / 2 + 1.0e-4).all())
        assert (plan.waypoints[0, -1] - scene.goal[0]).norm() <= 0.3


@pytest.mark.parametrize(("height", "passes"), [(0.65, True), (0.3, False)])
def test_only_bars_in_the_robots_way_block(world, height, passes):
    """A bar across the whole arena is passed underneath, if it floats above the robot."""
    bar = {"kind": Kind.CAPSULE, "center": (3.0, 0.0, height), "half": (0.03, 0.03, 3.1), "tilt": np.pi / 2}
    scene = world(bar)
    assert bool(solve(scene).solvable[0]) == passes
    assert bool(path_length(scene).isfinite()[0]) == passes


def test_plan_waits_for_a_mover(world):
    """Where a mover passes the only door just then, the plan arrives later, and is clear of it at every 20 ms."""
    door = _wall(3.0, -0.3, 0.3)
    mover = {"center": (2.6, -1.6, 0.3), "half": (0.1, 0.3, 0.3), "way": [(0.0, 3.6)], "speed": 0.4}
    scene = SceneBatch.cat([world(*door), world(mover, *door)])
    plan = solve(scene)
    assert plan.solvable.tolist() == [True, True]
    assert plan.arrival[1] > plan.arrival[0] + 0.5
    points = _points(scene, 4000)
    for time in torch.arange(0.0, float(plan.arrival[1]), 0.02):
        pose = torch.cat((plan.at(time.expand(2)), torch.zeros(2, 1)), 1)
        assert _gap(scene, points, time.expand(2).contiguous(), pose).min() > 0.0


def test_corridor_held_by_a_mover_is_not_solvable(world):
    """A mover that fills a corridor and never leaves it makes it unsolvable; the distance to go does not mind it."""
    corridor = [{"center": (3.0, side * 1.8, 0.5), "half": (2.0, 1.2, 0.5)} for side in (-1, 1)]
    mover = {"center": (1.5, 0.0, 0.3), "half": (0.3, 0.3, 0.3), "way": [(3.0, 0.0)], "speed": 0.6}
    scene = SceneBatch.cat([world(*corridor, mover), world(*corridor)])
    plan = solve(scene)
    assert plan.solvable.tolist() == [False, True]
    assert plan.arrival[0].isinf()
    assert torch.equal(plan.waypoints[0], scene.start[0, :2].expand_as(plan.waypoints[0]))
    assert path_length(scene).isfinite().all()


def test_mover_that_turns_between_two_looks_is_seen(world):
    """A post that darts into the door and back, always home when it is looked at, still closes the door."""
    post = {"kind": Kind.CYLINDER, "center": (2.9, 0.29, 0.3), "half": (0.03, 0.03, 0.3), "way": [(0.0, -0.2)]}
    door = _wall(3.0, -0.225, 0.225)
    scene = SceneBatch.cat([world({**post, "speed": speed}, *door) for speed in (0.0, 3.2)])
    assert solve(scene).solvable.tolist() == [True, False]


def test_start_must_leave_room_to_turn(world):
    """A post beside the robot is no matter at yaw 0, but hit by a robot that has to turn; a mover gone by is not."""
    post = {"kind": Kind.CYLINDER, "center": (0.25, 0.24, 0.3), "half": (0.05, 0.05, 0.3)}
    passing = {**post, "center": (0.25, -1.0, 0.3), "way": [(0.0, 3.0)], "speed": 1.0}
    gone = {**post, "center": (0.25, 0.5, 0.3), "way": [(0.0, 2.0)], "speed": 1.0}
    scene = SceneBatch.cat([world(post, start=(0.0, 0.0, yaw)) for yaw in (0.0, 1.0, -1.0, 2.0 * np.pi)]
                           + [world(geom, start=(0.0, 0.0, 1.0)) for geom in (passing, gone)])  # fmt: skip
    plan = solve(scene)
    assert plan.solvable.tolist() == [True, False, False, True, False, True]
    assert plan.times[5, 0].item() == pytest.approx(1.0 / ROBOT.max_velocity[2] + SearchCfg().settle)


def test_plan_of_a_world_does_not_depend_on_its_batch():
    """Distance and plan of a world are the same alone, and among others of other arenas, still or moving."""
    slots = max(GENERATORS[name][0](GENERATORS[name][1], np.array([0])).geom_count for name in GENERATORS)
    parts = []
    for generate, cfg in GENERATORS.values():
        part = generate(cfg, np.array([7]))
        room = slots - part.geom_count
        for name in ("kind", "position", "orientation", "size", "waypoints", "speed", "color", "texture"):
            value = getattr(part, name)
            setattr(part, name, torch.cat((value, torch.zeros_like(value[:, :1]).repeat_interleave(room, 1)), 1))
        parts.append(part)
    batch = SceneBatch.cat(parts)
    plan, length = solve(batch), path_length(batch)
    for i, part in enumerate(parts):
        alone = solve(part)
        for name in ("solvable", "arrival", "times", "waypoints"):
            assert torch.equal(getattr(alone, name)[0], getattr(plan, name)[i])
        assert torch.equal(path_length(part)[0], length[i])


@pytest.mark.parametrize("name", GENERATORS)
def test_plans_of_generated_worlds_touch_nothing(name):
    """Layouts are solvable; their plans go from start to goal within the speed limits and touch nothing at any time."""
    generate, cfg = GENERATORS[name]
    scene = generate(cfg, np.arange(100, 108))
    plan = solve(scene)
    assert bool(plan.solvable.all())
    torch.testing.assert_close(plan.waypoints[:, 0], scene.start[:, :2], rtol=0.0, atol=1.0e-5)
    assert bool(((plan.waypoints[:, -1] - scene.goal).norm(dim=-1) <= 0.3 + 1.0e-5).all())
    velocity = plan.waypoints.diff(dim=1) / plan.times.diff(dim=1)[..., None]
    assert bool((velocity[..., 0] <= ROBOT.max_velocity[0] + 1.0e-3).all())
    assert bool((velocity[..., 0] >= ROBOT.min_velocity[0] - 1.0e-3).all())
    assert bool((velocity[..., 1].abs() <= ROBOT.max_velocity[1] + 1.0e-3).all())
    points = _points(scene, 600)
    for i in range(int(plan.arrival.max() / 0.1)):
        time = torch.minimum(plan.times[:, 0] + 0.1 * i, plan.arrival)
        pose = torch.cat((plan.at(time), torch.zeros(len(time), 1)), 1)
        assert bool((_gap(scene, points, time, pose) > 0.015).all())
    length = plan.waypoints.diff(dim=1).norm(dim=-1).sum(1)
    assert bool((length + 0.3 >= 0.97 * path_length(scene)).all())


def test_policy_reaches_the_goal(world):
    """A robot that lags and accelerates slowly gets through static worlds untouched in at least 95 % of 40."""
    rng = np.random.default_rng(0)
    doors = [(float(y), float(y) + 0.45) for y in rng.uniform(-2.0, 1.5, 20)]
    scene = SceneBatch.cat(
        [
            world(*_wall(3.0, *door), start=(0.0, 0.0, float(yaw)))
            for door, yaw in zip(doors, rng.uniform(-1, 1, 20), strict=True)
        ]
    )
    clutter = reach.generate(reach.ReachCfg(), np.arange(20))
    arrived = []
    for batch in (scene, clutter):
        policy = OraclePolicy.of(batch)
        assert bool(policy.plan.solvable.all())
        least, reached = _drive(batch, policy, float(policy.plan.arrival.max()) + 3.0)
        arrived.append(reached & (least > 0.0))
    assert torch.cat(arrived).float().mean() >= 0.95


def test_policy_keeps_to_limits_and_frames(world):
    """Commands are in the robot's frame and within its limits, whatever the pose."""
    scene = SceneBatch.cat([world(), world(), world()])
    policy = OraclePolicy(solve(scene))
    pose = torch.tensor([[0.0, 0.0, 0.0], [0.0, 0.0, np.pi / 2], [50.0, -50.0, 3.0]])
    command = policy(torch.full((3,), 0.5), pose)
    assert command[0, 0] > 0.5 and command[0, 1].abs() < 0.1
    assert command[1, 1] == -0.5 and command[1, 0].abs() < 0.1 and command[1, 2] == -1.2  # +x is to its right
    assert bool((command <= torch.tensor(ROBOT.max_velocity)).all())
    assert bool((command >= torch.tensor(ROBOT.min_velocity)).all())


def test_search_refuses_steps_too_short_for_the_robot():
    """A step in which the robot cannot make the moves is an error that names the shortest one."""
    with pytest.raises(ValueError, match="at least 0.2 s"):
        SearchCfg(step=0.1)
    assert SearchCfg(step=0.2).step == 0.2


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_devices_agree():
    """CPU and GPU find the same arrivals and distances."""
    scene = mixed.generate(mixed.MixedCfg(), np.arange(4))
    cpu, gpu = solve(scene), solve(scene.to("cuda"))
    torch.testing.assert_close(cpu.arrival, gpu.arrival.cpu())
    torch.testing.assert_close(path_length(scene), path_length(scene.to("cuda")).cpu(), rtol=1.0e-3, atol=1.0e-3)
