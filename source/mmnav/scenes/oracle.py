"""The privileged planner: the proof that a layout is solvable, and the oracle baseline that drives the way it found."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
import warp as wp

from ..robot import ROBOT, RobotCfg
from .batch import SceneBatch
from .motion import advance
from .occupancy import Footprint, Grid, occupancy, shadows
from .reachability import AHEAD, ASIDE, BACK, WORD, block_movers, check_turn, expand, pack, trace

_CELL = (0.1, 0.05)
"""Spacing of the search's cells along x and y [m]."""
_SUBSTEPS = 2
"""Legs by which a mover's way within a step is followed."""
_TURN_SAMPLES = 33
"""Times at which the turn at the start is tested."""
_CHECK_EVERY = 16
"""Steps between two looks at whether all worlds are done."""
_CHUNK = 32
"""Worlds searched at once; each takes up to 1.5 MB."""


@dataclass(frozen=True)
class SearchCfg:
    """What the search in space and time assumes."""

    margin: float = 0.02
    """Room kept on all sides of the robot [m]."""
    extra_length: float = 0.0
    """Room kept ahead and behind on top of it [m]; it makes the robot line up with a gap before it enters."""
    goal_radius: float = 0.3
    """Distance from the goal at which it counts as reached [m]."""
    step: float = 0.25
    """Duration of a step [s]; a step of 0.2 s would use the robot's full speed, a longer one leaves some in reserve."""
    settle: float = 0.5
    """Time for coming to rest after turning at the start [s]."""
    horizon: float = 40.0
    """Time after the turn within which the goal must be reached [s]."""

    def __post_init__(self) -> None:
        """Checks that the moves of a step are within the robot's limits."""
        slowest = max(
            AHEAD * _CELL[0] / ROBOT.max_velocity[0],
            -BACK * _CELL[0] / ROBOT.min_velocity[0],
            ASIDE * _CELL[1] / min(ROBOT.max_velocity[1], -ROBOT.min_velocity[1]),
        )
        if self.step < slowest - 1.0e-6:
            raise ValueError(f"SearchCfg.step is {self.step} s, too short for the robot's speed: at least {slowest} s.")


ROOMY_SEARCHES = (
    SearchCfg(0.08, 0.05),
    SearchCfg(0.05, 0.02),
    SearchCfg(0.04, step=0.4, horizon=64.0),
    SearchCfg(0.02, step=0.4, horizon=64.0),
    SearchCfg(),
)
"""For driving: as much room as the layout leaves and less speed where it is little, for a robot that lags behind."""


@dataclass(frozen=True)
class Plan:
    """For each world a way to its goal at fixed heading, or the proof that the search found none."""

    solvable: torch.Tensor
    """Whether the goal can be reached, shape [E], bool."""
    arrival: torch.Tensor
    """Time at the goal [s], shape [E]; infinite where not solvable."""
    times: torch.Tensor
    """Times of the waypoints [s], shape [E, T]; the first is the end of the turn at the start."""
    waypoints: torch.Tensor
    """Places at these times [m], shape [E, T, 2]; the last one repeated after arrival, the start if not solvable."""

    def assign(self, env_ids: torch.Tensor, plans: Plan) -> None:
        """Replaces the plans of the worlds ``env_ids``, shape [N], by N others of as many steps."""
        for f in fields(self):
            getattr(self, f.name)[env_ids] = getattr(plans, f.name)

    def at(self, time: torch.Tensor) -> torch.Tensor:
        """Returns where the plan is at the given times [s], shape [E]: places [m], shape [E, 2]."""
        step = self.times[:, 1] - self.times[:, 0]
        place = ((time - self.times[:, 0]) / step).clamp(0.0, self.times.shape[1] - 1.001)
        index = place.long()
        env = torch.arange(len(time), device=time.device)
        a, b = self.waypoints[env, index], self.waypoints[env, index + 1]
        return a + (place - index)[:, None] * (b - a)


def _path(scene: SceneBatch, times: torch.Tensor) -> torch.Tensor:
    """Centres of all primitives [m] at the times of each sample [s], shapes [S, E, K, 3] and [S, E]."""
    path = torch.empty((len(times), *scene.position.shape), device=scene.device)
    velocity = torch.empty_like(scene.position)
    for time, centers in zip(times, path, strict=True):
        advance(scene, time, centers, velocity)
    return path


def _words(cells: torch.Tensor) -> torch.Tensor:
    """Packs cells into bit rows; bits beyond the last column are set. Shapes [E, H, W] uint8, [E, H, W / 64] int64."""
    words = torch.empty((*cells.shape[:2], -(-cells.shape[2] // WORD)), dtype=torch.int64, device=cells.device)
    wp.launch(
        pack,
        dim=words.shape,
        inputs=[wp.from_torch(cells)],
        outputs=[wp.from_torch(words, dtype=wp.uint64)],
        device=str(cells.device),
    )
    return words


def solve(scene: SceneBatch, cfg: SearchCfg = SearchCfg()) -> Plan:
    """Finds, for each world, the earliest arrival at the goal of the robot that turns to yaw 0 and then keeps it.

    The search is exact for its cells and steps, and its ways are collision-free at every moment in between: what the
    robot at fixed heading must not enter is the Minkowski sum of a convex body and the footprint, so any axis-parallel
    line through it lies in it for at least the footprint's length or width, which exceeds the cells; hence where the
    corners of a rectangle of cells are free, all of it is. Movers block what they sweep in a step, all step long.

    Args:
        scene: E worlds.
        cfg: Margins, speeds and horizon.

    Returns:
        The plans. Not solvable means that this robot, at this heading and on these cells, found no way.
    """
    plans = [_solve(scene[i : i + _CHUNK], cfg) for i in range(0, scene.env_count, _CHUNK)]
    return Plan(**{f.name: torch.cat([getattr(p, f.name) for p in plans]) for f in fields(Plan)})


def _solve(scene: SceneBatch, cfg: SearchCfg) -> Plan:
    device, env_count, step_count = str(scene.device), scene.env_count, round(cfg.horizon / cfg.step)
    shadow = shadows(scene)
    grid = Grid.over(scene, _CELL)
    turn, can_turn = _turn(scene, shadow, cfg)
    blocked = _blocked(scene, shadow, grid, cfg, turn)

    # Mark the goal and the start
    away = (grid.points() - scene.goal[:, None, None]).norm(dim=-1) > cfg.goal_radius
    aim = wp.from_torch(~_words(away.to(torch.uint8)), dtype=wp.uint64)
    layers = torch.zeros((env_count, step_count + 1, *blocked.shape[2:]), dtype=torch.int64, device=scene.device)
    row, column = grid.start.unbind(-1)
    layers[torch.arange(env_count, device=scene.device), 0, row, column // WORD] = 1 << (column % WORD)

    # Spread from the start until all have arrived
    arrival = torch.full((env_count,), step_count + 1, dtype=torch.int32, device=scene.device)
    arrival[~can_turn] = -1
    blocked, layers = wp.from_torch(blocked, dtype=wp.uint64), wp.from_torch(layers, dtype=wp.uint64)
    for step in range(step_count):
        wp.launch(
            expand,
            dim=(env_count, grid.shape[0]),
            inputs=[blocked, aim, step],
            outputs=[layers, wp.from_torch(arrival)],
            device=device,
        )
        if step % _CHECK_EVERY == _CHECK_EVERY - 1 and bool((arrival <= step_count).all()):
            break

    # Follow the moves back
    waypoints = scene.start[:, None, :2].repeat(1, step_count + 1, 1)
    origin, goal = wp.from_torch(grid.origin, dtype=wp.vec2), wp.from_torch(scene.goal, dtype=wp.vec2)
    wp.launch(
        trace,
        dim=env_count,
        inputs=[blocked, layers, aim, wp.from_torch(arrival), origin, goal, wp.vec2(*_CELL)],
        outputs=[wp.from_torch(waypoints, dtype=wp.vec2)],
        device=device,
    )
    solvable = can_turn & (arrival <= step_count)
    times = turn[:, None] + torch.arange(step_count + 1, device=scene.device) * cfg.step
    return Plan(solvable, torch.where(solvable, turn + arrival * cfg.step, torch.inf), times, waypoints)


def _turn(scene: SceneBatch, shadow: wp.array, cfg: SearchCfg) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns how long the turn at the start takes [s], shape [E], and whether it touches nothing, shape [E], bool."""
    yaw = torch.atan2(scene.start[:, 2].sin(), scene.start[:, 2].cos()).abs()
    turn = torch.where(yaw > 1.0e-3, yaw / ROBOT.max_velocity[2] + cfg.settle, 0.0)
    free = torch.ones(scene.env_count, dtype=torch.bool, device=scene.device)
    path = _path(scene, turn * torch.linspace(0.0, 1.0, _TURN_SAMPLES, device=scene.device)[:, None])
    wp.launch(
        check_turn,
        dim=(scene.env_count, _TURN_SAMPLES, scene.geom_count),
        inputs=[
            shadow,
            wp.from_torch(scene.speed),
            wp.from_torch(path, dtype=wp.vec3),
            wp.from_torch(scene.start, dtype=wp.vec3),
            wp.from_torch(turn),
            ROBOT.radius + cfg.margin,
        ],
        outputs=[wp.from_torch(free)],
        device=str(scene.device),
    )
    return turn, free


def _blocked(scene: SceneBatch, shadow: wp.array, grid: Grid, cfg: SearchCfg, begin: torch.Tensor) -> torch.Tensor:
    """Bit rows of the cells where the robot may not be in each step, counted from the times ``begin`` [s], shape [E].

    Returns:
        Shape [E, S, H, W / 64], int64; S is the number of steps, or 1 for all of them if nothing moves.
    """
    footprint = Footprint.rectangle(cfg.margin, cfg.extra_length)
    static = _words(occupancy(scene, grid, footprint, shadow))[:, None]
    if not bool((scene.speed > 0.0).any()):
        return static
    step_count = round(cfg.horizon / cfg.step)
    substep = cfg.step / _SUBSTEPS
    path = _path(scene, begin + torch.arange(step_count * _SUBSTEPS + 1, device=scene.device)[:, None] * substep)
    blocked = static.repeat(1, step_count, 1, 1)
    wp.launch(
        block_movers,
        dim=blocked.shape[:3],
        inputs=[
            shadow,
            wp.from_torch(scene.speed),
            wp.from_torch(path, dtype=wp.vec3),
            _SUBSTEPS,
            substep,
            wp.from_torch(grid.origin, dtype=wp.vec2),
            wp.vec2(*_CELL),
            wp.vec3(*footprint.extents),
        ],
        outputs=[wp.from_torch(blocked, dtype=wp.uint64)],
        device=str(scene.device),
    )
    return blocked


class OraclePolicy:
    """Drives along plans: turns to yaw 0, then tracks the timed waypoints. The baseline that sees everything."""

    def __init__(self, plan: Plan, robot: RobotCfg = ROBOT, response_time: float = 0.2, gain: float = 2.0):
        """Takes the plans of a batch.

        Args:
            plan: Plans of E worlds; where not solvable, the robot stays at its start.
            robot: Velocity limits.
            response_time: Time by which the robot's velocity lags behind the command; the commands lead by it [s].
            gain: Velocity per distance from the plan [1/s], and yaw rate per half the heading error.
        """
        self.plan = plan
        self._response_time = response_time
        self._gain = gain
        device = plan.times.device
        self._low = torch.tensor(robot.min_velocity, device=device)
        self._high = torch.tensor(robot.max_velocity, device=device)

    @staticmethod
    def of(scene: SceneBatch, searches: tuple[SearchCfg, ...] = ROOMY_SEARCHES) -> OraclePolicy:
        """Plans for a batch of E worlds, in each with the first of the searches that finds a way."""
        plan = solve(scene, searches[0])
        for search in searches[1:]:
            rest = (~plan.solvable).nonzero()[:, 0]
            if len(rest) > 0:
                plan.assign(rest, solve(scene[rest], search))
        return OraclePolicy(plan)

    def __call__(self, time: torch.Tensor, pose: torch.Tensor) -> torch.Tensor:
        """Returns what to command now.

        Args:
            time: Time since the start of each episode [s], shape [E].
            pose: Places and headings (x, y, yaw) [m, m, rad], shape [E, 3].

        Returns:
            Velocity commands in the robot's frame (forward, leftward, yaw) within its limits [m/s, m/s, rad/s],
            shape [E, 3].
        """
        window = self.plan.times[:, 1] - self.plan.times[:, 0]
        lead = time + self._response_time
        forward = (self.plan.at(lead + 0.5 * window) - self.plan.at(lead - 0.5 * window)) / window[:, None]
        velocity = forward + self._gain * (self.plan.at(time) - pose[:, :2])
        cos, sin = pose[:, 2].cos(), pose[:, 2].sin()
        along = cos * velocity[:, 0] + sin * velocity[:, 1]
        across = cos * velocity[:, 1] - sin * velocity[:, 0]
        turn = -2.0 * self._gain * torch.atan2(sin, cos)
        return torch.stack((along, across, turn), -1).clamp(self._low, self._high)
