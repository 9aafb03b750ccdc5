"""Kernels of the search in space and time: which cells the robot can be in after each step, as rows of bits."""

from __future__ import annotations

import warp as wp

from .occupancy import NORTH, SOUTH, grown

WORD = 64
"""Cells in a word of a bit row."""

AHEAD, BACK, ASIDE = 2, 1, 2
"""Most cells moved in a step: forward, backward, and to either side."""

_WORD = wp.constant(WORD)
_AHEAD = wp.constant(AHEAD)
_BACK = wp.constant(BACK)
_ASIDE = wp.constant(ASIDE)


@wp.kernel(enable_backward=False)
def pack(cells: wp.array3d(dtype=wp.uint8), words_out: wp.array3d(dtype=wp.uint64)):
    """Packs cells into bit rows; bits beyond the last column are set."""
    env, row, word = wp.tid()
    bits = wp.uint64(0)
    for i in range(_WORD):
        column = word * _WORD + i
        if column >= cells.shape[2] or cells[env, row, column] != wp.uint8(0):
            bits = bits | (wp.uint64(1) << wp.uint64(i))
    words_out[env, row, word] = bits


@wp.func
def _span(from_column: int, to_column: int, word: int):
    """Bits of one word that stand for the columns from .. to, both included."""
    first = wp.max(from_column - word * _WORD, 0)
    last = wp.min(to_column - word * _WORD, _WORD - 1)
    if first > last:
        return wp.uint64(0)
    ones = ~wp.uint64(0)
    return (ones << wp.uint64(first)) & (ones >> wp.uint64(_WORD - 1 - last))


@wp.kernel(enable_backward=False)
def block_movers(
    shadow: wp.array3d(dtype=wp.vec3),
    speed: wp.array2d(dtype=float),
    path: wp.array3d(dtype=wp.vec3),
    substeps: int,
    substep: float,
    origin: wp.array(dtype=wp.vec2),
    cell: wp.vec2,
    footprint: wp.vec3,
    blocked_out: wp.array4d(dtype=wp.uint64),
):
    """Blocks, for every step, the cells that a mover touches at any time during the step."""
    env, step, row = wp.tid()
    y = origin[env][1] + float(row) * cell[1]
    for geom in range(speed.shape[1]):
        if speed[env, geom] <= 0.0:
            continue
        low = float(1.0e6)
        high = float(-1.0e6)
        # Between two samples the centre stays within an ellipse about them, which bulges where its way turns.
        bulge = float(0.0)
        for i in range(substeps + 1):
            here = path[step * substeps + i, env, geom]
            low = wp.min(low, here[1])
            high = wp.max(high, here[1])
            if i > 0:
                leg = here - path[step * substeps + i - 1, env, geom]
                way = speed[env, geom] * substep
                bulge = wp.max(bulge, 0.5 * wp.sqrt(wp.max(way * way - wp.dot(leg, leg), 0.0)))
        swept = footprint + wp.vec3(0.0, 0.0, bulge)
        if y - high >= grown(shadow[env, geom, NORTH], swept) or low - y >= grown(shadow[env, geom, SOUTH], swept):
            continue
        left = float(-1.0e6)
        right = float(1.0e6)
        for n in range(shadow.shape[2]):
            plane = shadow[env, geom, n]
            ahead = float(-1.0e6)
            for i in range(substeps + 1):
                here = path[step * substeps + i, env, geom]
                ahead = wp.max(ahead, plane[0] * here[0] + plane[1] * here[1])
            room = grown(plane, swept) + ahead - plane[1] * y
            if wp.abs(plane[0]) < 1.0e-6:
                if room <= 0.0:
                    right = left
            elif plane[0] > 0.0:
                right = wp.min(right, room / plane[0])
            else:
                left = wp.max(left, room / plane[0])
        first = int(wp.ceil((left - origin[env][0]) / cell[0]))
        last = int(wp.floor((right - origin[env][0]) / cell[0]))
        for word in range(blocked_out.shape[3]):
            blocked_out[env, step, row, word] |= _span(first, last, word)


@wp.func
def _free(blocked: wp.array4d(dtype=wp.uint64), env: int, step: int, row: int, other: int, word: int):
    """Columns of a word that are free in all rows between two, both included."""
    if word < 0 or word >= blocked.shape[3]:
        return wp.uint64(0)
    bits = wp.uint64(0)
    for i in range(wp.min(row, other), wp.max(row, other) + 1):
        bits = bits | blocked[env, step, i, word]
    return ~bits


@wp.kernel(enable_backward=False)
def expand(
    blocked: wp.array4d(dtype=wp.uint64),
    aim: wp.array3d(dtype=wp.uint64),
    step: int,
    reached_out: wp.array4d(dtype=wp.uint64),
    arrival_out: wp.array(dtype=int),
):
    """One step of all moves at once: those within the velocity limits whose whole rectangle of cells stays free."""
    env, row = wp.tid()
    if arrival_out[env] <= step:
        return
    layer = wp.min(step, blocked.shape[1] - 1)
    rows = reached_out.shape[2]
    one = wp.uint64(1)
    end = wp.uint64(_WORD - 1)
    for word in range(reached_out.shape[3]):
        bits = wp.uint64(0)
        for other in range(wp.max(row - _ASIDE, 0), wp.min(row + _ASIDE, rows - 1) + 1):
            here = reached_out[env, step, other, word]
            before = wp.uint64(0)
            after = wp.uint64(0)
            if word > 0:
                before = reached_out[env, step, other, word - 1]
            if word < reached_out.shape[3] - 1:
                after = reached_out[env, step, other, word + 1]
            if (here | before | after) == wp.uint64(0):
                continue
            free = _free(blocked, env, layer, row, other, word)
            free_before = _free(blocked, env, layer, row, other, word - 1)
            here = here & free
            before = before & free_before
            after = after & _free(blocked, env, layer, row, other, word + 1)
            ahead = ((here << one) | (before >> end)) & free
            ahead_before = (before << one) & free_before
            twice_ahead = ((ahead << one) | (ahead_before >> end)) & free
            back = ((here >> one) | (after << end)) & free
            bits = bits | here | ahead | twice_ahead | back
        reached_out[env, step + 1, row, word] = bits
        if (bits & aim[env, row, word]) != wp.uint64(0):
            wp.atomic_min(arrival_out, env, step + 1)


@wp.func
def _bit(words: wp.array4d(dtype=wp.uint64), env: int, step: int, row: int, column: int):
    return (words[env, step, row, column // _WORD] >> wp.uint64(column % _WORD)) & wp.uint64(1)


@wp.kernel(enable_backward=False)
def trace(
    blocked: wp.array4d(dtype=wp.uint64),
    reached: wp.array4d(dtype=wp.uint64),
    aim: wp.array3d(dtype=wp.uint64),
    arrival: wp.array(dtype=int),
    origin: wp.array(dtype=wp.vec2),
    goal: wp.array(dtype=wp.vec2),
    cell: wp.vec2,
    position_out: wp.array2d(dtype=wp.vec2),
):
    """Follows the moves back from the goal, keeping the velocity where there is a choice."""
    env = wp.tid()
    steps = position_out.shape[1] - 1
    last = arrival[env]
    if last < 0 or last > steps:
        return
    row = int(0)
    column = int(0)
    nearest = float(wp.inf)
    for r in range(reached.shape[2]):
        for word in range(reached.shape[3]):
            if (reached[env, last, r, word] & aim[env, r, word]) == wp.uint64(0):
                continue
            for c in range(word * _WORD, (word + 1) * _WORD):
                if _bit(reached, env, last, r, c) != wp.uint64(0):
                    at = origin[env] + wp.vec2(float(c) * cell[0], float(r) * cell[1])
                    if wp.length(at - goal[env]) < nearest:
                        nearest = wp.length(at - goal[env])
                        row = r
                        column = c
    for step in range(last, steps + 1):
        position_out[env, step] = origin[env] + wp.vec2(float(column) * cell[0], float(row) * cell[1])
    dx = int(0)
    dy = int(0)
    for i in range(last):
        step = last - 1 - i
        layer = wp.min(step, blocked.shape[1] - 1)
        best = int(1000)
        best_dx = int(0)
        best_dy = int(0)
        for x in range(-_BACK, _AHEAD + 1):
            for y in range(-_ASIDE, _ASIDE + 1):
                cost = wp.abs(x - dx) + wp.abs(y - dy)
                r = row - y
                c = column - x
                if cost >= best or r < 0 or r >= reached.shape[2] or c < 0 or c >= reached.shape[3] * _WORD:
                    continue
                if _bit(reached, env, step, r, c) == wp.uint64(0):
                    continue
                taken = wp.uint64(0)
                for r_between in range(wp.min(r, row), wp.max(r, row) + 1):
                    for c_between in range(wp.min(c, column), wp.max(c, column) + 1):
                        taken = taken | _bit(blocked, env, layer, r_between, c_between)
                if taken == wp.uint64(0):
                    best = cost
                    best_dx = x
                    best_dy = y
        dx = best_dx
        dy = best_dy
        row -= dy
        column -= dx
        position_out[env, step] = origin[env] + wp.vec2(float(column) * cell[0], float(row) * cell[1])


@wp.kernel(enable_backward=False)
def check_turn(
    shadow: wp.array3d(dtype=wp.vec3),
    speed: wp.array2d(dtype=float),
    path: wp.array3d(dtype=wp.vec3),
    start: wp.array(dtype=wp.vec3),
    duration: wp.array(dtype=float),
    radius: float,
    free_out: wp.array(dtype=wp.bool),
):
    """Clears ``free_out`` where a disc about the start touches something while the robot turns there."""
    env, sample, geom = wp.tid()
    if duration[env] <= 0.0:
        return
    away = start[env] - path[sample, env, geom]
    reach = 0.5 * speed[env, geom] * duration[env] / float(path.shape[0] - 1)
    for n in range(shadow.shape[2]):
        plane = shadow[env, geom, n]
        if plane[0] * away[0] + plane[1] * away[1] >= grown(plane, wp.vec3(0.0, 0.0, radius + reach)):
            return
    free_out[env] = False
