"""Drawing creatures, many at once: a scene of per-image numbers in, uint8 pixels out.

Only additions, products, quotients, comparisons and integer arithmetic decide a pixel, each
elementwise on float32 or integers: IEEE 754 rounds them in one way, so pixels are bit-equal on
every machine, for any subset and in any order. No sine, exponential, matrix product or sum over an
axis is used (their last bits differ between CPUs and libraries); angles come as rational points of
the circle.

Lengths are in pixels at resolution 40, the origin is the creature's middle, y points down.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headwater import keys
from headwater.sources.world.styles import F32, STYLES, Fields, over

RECIPE = 1
"""Raised by hand whenever a pixel changes."""

NUM_DRAWS = 160
"""Uniforms that a scene holds per image: 0-31 pose, 32-79 clutter, 80-95 colours and noise patch,
96-159 texture.
"""

_MAX_LOBES = 7
_BODY_X, _BODY_Y = (
    11.0,
    9.2,
)  # half axes of the body: two codes of up to 3 x 2.6 px side by side fit in it
_LOBE_OUT, _LOBE_LONG, _LOBE_WIDE = (
    2.6,
    6.4,
    4.2,
)  # a lobe's middle lies this far outside the body; its half axes where there are 3.5 lobes
_CODE_GAP, _CODE_Y = 1.4, 0.9  # between the two codes; their middle below the body's
_PATCH_AWAY, _PATCH_RADIUS = 14.0, 5.5
_CHUNK_PIXELS = 32 * 40 * 40  # drawn at once, so that the planes stay in the cache


@dataclass(frozen=True, kw_only=True)
class Scene:
    """What is to be drawn: arrays with one entry per image."""

    domain: str
    noise_key: int
    hashes: NDArray[np.int64]
    """Sample hashes, from which pixel noise is drawn."""
    draws: F32
    """[n, NUM_DRAWS] uniforms."""
    codes: F32
    """[n, 9] cells, 0 black and 1 white."""
    lobes: NDArray[np.int64]
    """[n] lobes to draw (on hard images those of the wrong family)."""
    lobe_size: F32
    """[n] size of the lobes, 1 = full."""
    hue: F32
    """[n] background hue in [0, 1)."""
    low: NDArray[np.bool_]
    """[n] True where the creature sits in the lower half."""
    patch: F32
    """[n] standard deviation of the noise patch, 0 for none."""
    empty: NDArray[np.bool_]
    """[n] True where no creature is drawn."""

    def part(self, rows: slice) -> Scene:
        """The scene of some rows."""
        arrays = {
            name: value[rows] for name, value in vars(self).items() if isinstance(value, np.ndarray)
        }
        return Scene(domain=self.domain, noise_key=self.noise_key, **arrays)


@dataclass(frozen=True, kw_only=True)
class Look:
    """What all images of a source share."""

    resolution: int
    code_strength: float
    code_cell: float
    noise: float
    clutter: int


def draw(scene: Scene, look: Look) -> NDArray[np.uint8]:
    """uint8 [n, resolution, resolution, 3], RGB."""
    out = np.empty((len(scene.hashes), look.resolution, look.resolution, 3), dtype=np.uint8)
    at_once = max(1, _CHUNK_PIXELS // look.resolution**2)
    for start in range(0, len(out), at_once):
        rows = slice(start, start + at_once)
        out[rows] = _draw_chunk(scene.part(rows), look)
    return out


def _draw_chunk(scene: Scene, look: Look) -> NDArray[np.uint8]:
    grid = _Grid.of(scene, look)
    grain = _grain(scene, look)
    body, lobes = _silhouette(scene, grid)
    fields = Fields(
        body=body,
        lobes=lobes,
        blobs=_blobs(scene, grid, look),
        texture=_texture(scene.draws[:, 96:], look),
        grain=grain[:, 0],
        hue=scene.hue,
        u=scene.draws[:, 80:96],
    )
    canvas = STYLES[scene.domain](fields)
    if scene.patch.any():
        _noise_patch(canvas, scene, grid, grain)
    _eyes(canvas, scene, grid)
    _stamp_codes(canvas, scene, grid, look)
    canvas += grain * np.float32(look.noise)
    canvas *= 255
    canvas += np.float32(0.5)
    np.clip(canvas, 0, 255, out=canvas)
    return canvas.astype(np.uint8).transpose(0, 2, 3, 1)


@dataclass(frozen=True)
class _Grid:
    """Pixel middles of a chunk: relative to each creature ([n, res]) and absolute ([1, res]), x and
    y apart.
    """

    x: F32
    y: F32
    absolute: F32
    half_pixel: F32
    """[n] half the side of a pixel in the creature's units."""

    @classmethod
    def of(cls, scene: Scene, look: Look) -> _Grid:
        u = scene.draws
        pixels = (np.arange(look.resolution, dtype=np.float32) + np.float32(0.5)) / np.float32(
            look.resolution / 40
        )
        scale = np.float32(0.86) + np.float32(0.22) * u[:, 0]
        x0 = 20 + (u[:, 1] - np.float32(0.5)) * 5
        y0 = 20 + np.where(scene.low, 1, -1).astype(np.float32) * (
            np.float32(0.4) + np.float32(2.1) * u[:, 2]
        )
        half_pixel = np.float32(0.5) / (scale * np.float32(look.resolution / 40))
        return cls(
            (pixels - x0[:, None]) / scale[:, None],
            (pixels - y0[:, None]) / scale[:, None],
            pixels[None],
            half_pixel,
        )

    def rows(self, chosen: NDArray[np.int64]) -> _Grid:
        return _Grid(self.x[chosen], self.y[chosen], self.absolute, self.half_pixel[chosen])


def _ellipse(
    grid_x: F32, grid_y: F32, x: F32, y: F32, long: F32, wide: F32, turn: tuple[F32, F32]
) -> F32:
    """[n, res, res]: about the distance to the border in pixels, positive inside.

    The middle is (x, y), the long axis along `turn`.
    """
    cos, sin = turn
    dx, dy = grid_x - x[:, None], grid_y - y[:, None]
    along, across = 1 / (long * long), 1 / (wide * wide)
    radius = np.minimum(long, wide) * np.float32(0.5)
    xx = (cos * cos * along + sin * sin * across) * radius
    yy = (sin * sin * along + cos * cos * across) * radius
    xy = 2 * cos * sin * (across - along) * radius
    field: F32 = (xy[:, None] * dx)[:, None, :] * dy[:, :, None]
    field -= (xx[:, None] * dx * dx)[:, None, :]
    field -= (yy[:, None] * dy * dy - radius[:, None])[:, :, None]
    return field


def _circle(u: F32, half_range: float) -> tuple[F32, F32]:
    """(cos, sin) of an angle about 0 with |tan(angle / 2)| <= half_range, a rational point of the
    circle; u in [0, 1).
    """
    t = (2 * u - 1) * np.float32(half_range)
    square = t * t
    return (1 - square) / (1 + square), 2 * t / (1 + square)


def _turned(a: tuple[F32, F32], b: tuple[F32, F32]) -> tuple[F32, F32]:
    return a[0] * b[0] - a[1] * b[1], a[0] * b[1] + a[1] * b[0]


def _exact(table: NDArray[np.float64]) -> F32:
    """Rounded to 2^-20: far coarser than the last bits by which mathematical libraries differ."""
    return (np.round(table * 2**20) / 2**20).astype(np.float32)


def _lobe_directions() -> F32:
    """[_MAX_LOBES + 1, _MAX_LOBES, 2]: cos and sin of lobe k of n."""
    table = np.zeros((_MAX_LOBES + 1, _MAX_LOBES, 2))
    for n in range(2, _MAX_LOBES + 1):
        first = 0.0 if n == 2 else -math.pi / 2 if n % 2 else math.pi / n
        table[n, :n] = [
            (math.cos(first + 2 * math.pi * k / n), math.sin(first + 2 * math.pi * k / n))
            for k in range(n)
        ]
    return _exact(table)


_DIRECTIONS = _lobe_directions()
# The more lobes, the smaller: every family covers the same area, so that mean colour tells nothing
# of it.
_EQUAL_AREA = _exact(np.array([math.sqrt(3.5 / max(n, 1)) for n in range(_MAX_LOBES + 1)]))


def _silhouette(scene: Scene, grid: _Grid) -> tuple[F32, F32]:
    """Fields of the body and of the lobes, [n, res, res] each; -100 where there is nothing."""
    u = scene.draws
    zero, one = np.zeros(len(u), np.float32), np.ones(len(u), np.float32)
    body = _ellipse(
        grid.x,
        grid.y,
        zero,
        zero,
        np.float32(_BODY_X) * one,
        np.float32(_BODY_Y) * one,
        (one, zero),
    )
    body[scene.empty] = -100
    lobes = np.full_like(body, -100)
    tilt = _circle(u[:, 3], 0.12)
    drawn = (
        scene.lobe_size > np.float32(1e-3)
    ) & ~scene.empty  # a smaller lobe shows in no pixel, and its reciprocal would overflow
    for k in range(int(scene.lobes.max())):
        rows = np.flatnonzero(drawn & (scene.lobes > k))
        if len(rows) == 0:
            continue
        direction = _DIRECTIONS[scene.lobes[rows], k]
        cos, sin = _turned(
            _turned((direction[:, 0], direction[:, 1]), (tilt[0][rows], tilt[1][rows])),
            _circle(u[rows, 8 + k], 0.06),
        )
        grow = (
            scene.lobe_size[rows]
            * _EQUAL_AREA[scene.lobes[rows]]
            * (np.float32(0.88) + np.float32(0.24) * u[rows, 16 + k])
        )
        near = grid.rows(rows)
        out_x, out_y = (
            (np.float32(_BODY_X) + np.float32(_LOBE_OUT) * grow) * cos,
            (np.float32(_BODY_Y) + np.float32(_LOBE_OUT) * grow) * sin,
        )
        field = _ellipse(
            near.x,
            near.y,
            out_x,
            out_y,
            np.float32(_LOBE_LONG) * grow,
            np.float32(_LOBE_WIDE) * grow,
            (cos, sin),
        )
        lobes[rows] = np.maximum(lobes[rows], field)
    return body, lobes


def _blobs(scene: Scene, grid: _Grid, look: Look) -> list[tuple[F32, F32]]:
    """Background clutter: for each blob its field [n, res, res] and its shade [n] in [-1, 1]."""
    blobs = []
    for i in range(look.clutter):
        u = scene.draws[:, 32 + 6 * i : 38 + 6 * i].T
        long, wide = np.float32(3) + 5 * u[2], np.float32(2) + 3 * u[3]
        field = _ellipse(
            grid.absolute, grid.absolute, 40 * u[0], 40 * u[1], long, wide, _circle(u[4], 1.0)
        )
        blobs.append((field, 2 * u[5] - 1))
    return blobs


def _texture(u: F32, look: Look) -> F32:
    """[n, res, res] smooth noise in [-1, 1]: 8 x 8 uniforms, interpolated by smoothstep."""
    place = np.arange(look.resolution, dtype=np.float32) * np.float32(7 / look.resolution)
    low = np.minimum(place.astype(np.int64), 6)
    t = place - low.astype(np.float32)
    t = t * t * (3 - 2 * t)
    knots = 2 * u.reshape(-1, 8, 8) - 1
    rows = knots[:, low] + (knots[:, low + 1] - knots[:, low]) * t[:, None]
    left = rows[:, :, low]
    smooth: F32 = left + (rows[:, :, low + 1] - left) * t
    return smooth


def _grain(scene: Scene, look: Look) -> F32:
    """[n, 3, res, res] noise of mean 0 and variance 1: the number of ones among 16 keyed bits
    (binomial, near Gaussian), no logarithm needed.
    """
    count = 3 * look.resolution**2
    words = keys.bits(scene.noise_key, scene.hashes, -(-count // 4)).astype("<i8", copy=False)
    ones: F32 = np.bitwise_count(words.view("<u2"))[:, :count].astype(np.float32)
    ones -= 8
    ones *= np.float32(0.5)
    return ones.reshape(-1, 3, look.resolution, look.resolution)


_COMPASS = _exact(
    np.array([(math.cos(math.pi * k / 4), math.sin(math.pi * k / 4)) for k in range(8)])
)


def _noise_patch(canvas: F32, scene: Scene, grid: _Grid, grain: F32) -> None:
    """One round patch of strong noise beside the body, in place, on the images that have one."""
    rows = np.flatnonzero(scene.patch > 0)
    where = _COMPASS[(8 * scene.draws[rows, 94]).astype(np.int64)] * np.float32(_PATCH_AWAY)
    radius, near = np.full(len(rows), _PATCH_RADIUS, np.float32), grid.rows(rows)
    field = _ellipse(
        near.x,
        near.y,
        where[:, 0],
        where[:, 1],
        radius,
        radius,
        (np.ones_like(radius), np.zeros_like(radius)),
    )
    alpha = np.clip(field + np.float32(0.5), 0, 1)[:, None]
    noisy = np.float32(0.5) + grain[rows][:, ::-1, ::-1] * scene.patch[rows, None, None, None]
    canvas[rows] += (np.clip(noisy, 0, 1) - canvas[rows]) * alpha


def _eyes(canvas: F32, scene: Scene, grid: _Grid) -> None:
    """White eyes with dark pupils above the codes, in place."""
    seen = np.where(scene.empty, 0, 1).astype(np.float32)
    glance = (scene.draws[:, 4] - np.float32(0.5)) * np.float32(1.2)
    top = slice(0, max(1, canvas.shape[2] * 3 // 4))  # eyes never sit lower
    for side in (-1, 1):
        x, y = np.full(len(seen), 3.1 * side, np.float32), np.full(len(seen), -5.9, np.float32)
        for radius, shade, shift in ((1.9, 0.95, 0), (0.95, 0.05, 1)):
            r = np.full(len(seen), radius, np.float32)
            field = _ellipse(
                grid.x,
                grid.y[:, top],
                x + shift * glance,
                y,
                r,
                r,
                (np.ones_like(r), np.zeros_like(r)),
            )
            over(
                canvas[:, :, top],
                np.full((len(seen), 3), shade, np.float32),
                np.clip(field + np.float32(0.5), 0, 1) * seen[:, None, None],
            )


def _stamp_codes(canvas: F32, scene: Scene, grid: _Grid, look: Look) -> None:
    """Both copies of the code, antialiased by area, in place.

    Nothing is drawn over them but pixel noise.
    """
    cell, half = np.float32(look.code_cell), grid.half_pixel[:, None]

    def covered(grid_axis: F32, start: float) -> F32:
        """[n, res]: the share of each pixel between `start` and `start` + one cell."""
        first = np.maximum(grid_axis - half, np.float32(start))
        last = np.minimum(grid_axis + half, np.float32(start) + cell)
        share: F32 = np.maximum(last - first, 0) / (2 * half)
        return share

    lefts = (-(_CODE_GAP / 2 + 3 * look.code_cell), _CODE_GAP / 2)
    columns = [
        covered(grid.x, lefts[0] + i * look.code_cell)
        + covered(grid.x, lefts[1] + i * look.code_cell)
        for i in range(3)
    ]
    rows = [covered(grid.y, _CODE_Y + (j - 1.5) * look.code_cell) for j in range(3)]
    white = np.zeros_like(canvas[:, 0])
    for j in range(3):
        line = sum(
            (scene.codes[:, 3 * j + i, None] * columns[i] for i in range(3)),
            np.zeros_like(columns[0]),
        )
        white += line[:, None, :] * rows[j][:, :, None]
    present = np.where(scene.empty, 0, 1).astype(np.float32)[:, None, None]
    alpha = (
        (columns[0] + columns[1] + columns[2])[:, None, :]
        * (rows[0] + rows[1] + rows[2])[:, :, None]
        * present
    )
    contrast = (np.float32(0.8) + np.float32(0.18) * scene.draws[:, 5]) * np.float32(
        look.code_strength
    )
    ink = (
        white * (contrast[:, None, None] * present)
        + alpha * (np.float32(0.5) - contrast / 2)[:, None, None]
    )
    canvas *= (1 - alpha)[:, None]
    canvas += ink[:, None]
