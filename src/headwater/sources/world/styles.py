"""Four ways to render the same creature: paint, sketch, night, mosaic.

Each maps fields to a canvas float32 [n, 3, res, res], about 0 to 1.

Colours are drawn without regard to the class, so that they cannot give it away.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Fields:
    """What there is to render; distances are in pixels at resolution 40, positive inside."""

    body: F32
    """[n, res, res]"""
    lobes: F32
    """[n, res, res]"""
    blobs: list[tuple[F32, F32]]
    """Background clutter: fields [n, res, res] and shades [n] in [-1, 1]."""
    texture: F32
    """[n, res, res] smooth noise in [-1, 1]."""
    grain: F32
    """[n, res, res] pixel noise of variance 1."""
    hue: F32
    """[n] background hue in [0, 1)."""
    u: F32
    """[n, 16] uniforms for colours: 0-3 background, 4-6 body, 7-9 lobes, 10-11 light, 12-13
    strength of hatching and lines.
    """


def over(canvas: F32, colour: F32, alpha: F32) -> None:
    """Lays `colour` [n, 3] over `canvas` [n, 3, h, w] in place where `alpha` [n, h, w] says so."""
    for channel in range(3):
        plane = canvas[:, channel]
        plane += (colour[:, channel, None, None] - plane) * alpha


def hsv(hue: F32, saturation: F32, value: F32) -> F32:
    """[n, 3] RGB of hues, saturations and values in [0, 1]; piecewise linear."""
    offsets = np.array([5, 3, 1], dtype=np.float32)
    k = offsets + 6 * hue[:, None]
    k = k - 6 * np.floor(k / 6)
    ramp = np.clip(np.minimum(k, 4 - k), 0, 1)
    rgb: F32 = value[:, None] * (1 - saturation[:, None] * ramp)
    return rgb


def _cover(field: F32) -> F32:
    """Share of each pixel inside the border, by distance."""
    share: F32 = np.clip(field + np.float32(0.5), 0, 1)
    return share


def _between(u: F32, low: float, high: float) -> F32:
    return np.float32(low) + np.float32(high - low) * u


def _light(f: Fields) -> F32:
    """[n, res, res]: a linear gradient of random direction, about -1 to 1."""
    ramp = np.linspace(-1, 1, f.texture.shape[-1], dtype=np.float32)
    across, down = 2 * f.u[:, 10] - 1, 2 * f.u[:, 11] - 1
    return (across[:, None] * ramp)[:, None, :] + (down[:, None] * ramp)[:, :, None]


def _planes(colour: F32, tone: F32) -> F32:
    """[n, 3, res, res]: colour [n, 3] times tone [n, res, res]."""
    return colour[:, :, None, None] * tone[:, None]


def _body_colour(f: Fields, saturation: float, low: float, high: float) -> F32:
    return hsv(
        f.u[:, 4], _between(f.u[:, 5], 0.5 * saturation, saturation), _between(f.u[:, 6], low, high)
    )


def _lobe_colour(f: Fields, saturation: float, low: float, high: float) -> F32:
    return hsv(
        f.u[:, 7], _between(f.u[:, 8], 0.5 * saturation, saturation), _between(f.u[:, 9], low, high)
    )


def paint(f: Fields) -> F32:
    """Saturated colours, soft texture, dark rims."""
    tone = 1 + np.float32(0.16) * f.texture + np.float32(0.12) * _light(f)
    for field, shade in f.blobs:
        tone += _cover(field) * (np.float32(0.28) * shade)[:, None, None]
    whole = np.maximum(f.body, f.lobes)
    tone *= 1 - np.float32(0.3) * np.clip(1 + whole * np.float32(0.4), 0, 1)
    canvas = _planes(
        hsv(f.hue, _between(f.u[:, 0], 0.35, 0.6), _between(f.u[:, 1], 0.55, 0.85)), tone
    )
    over(canvas, _lobe_colour(f, 0.8, 0.6, 0.95), _cover(f.lobes))
    over(canvas, _body_colour(f, 0.7, 0.55, 0.95), _cover(f.body))
    inside = np.clip(whole, 0, 3) * np.float32(0.12) + np.float32(0.1) * f.texture
    shade = np.where(whole > 0, np.float32(0.68) + inside, 1)
    canvas *= shade[:, None]
    return canvas


def sketch(f: Fields) -> F32:
    """Pencil on tinted paper: outlines and hatching, hardly any colour."""
    res = f.texture.shape[-1]
    step = np.arange(res) * 40 // res
    diagonal = ((step[:, None] + step[None]) % 4 == 0).astype(np.float32)
    counter = ((step[:, None] - step[None]) % 3 == 0).astype(np.float32)
    tone = np.float32(0.93) + np.float32(0.05) * f.texture + np.float32(0.03) * _light(f)
    for field, shade in f.blobs:
        tone -= (
            np.clip(np.float32(0.8) - np.abs(field), 0, 1)
            * (np.float32(0.35) * np.abs(shade))[:, None, None]
        )
    body, lobes = _cover(f.body), _cover(f.lobes)
    whole = np.maximum(f.body, f.lobes)
    paper = np.maximum(body, lobes)
    tone += (np.float32(0.9) - tone) * paper
    tone -= body * (np.float32(0.16) * diagonal + np.float32(0.1))
    tone -= (
        (lobes * (1 - body))
        * (np.float32(0.3) * counter + np.float32(0.18))
        * _between(f.u[:, 12], 0.3, 1.2)[:, None, None]
    )
    tone -= (
        np.clip(np.float32(1.2) - np.abs(whole), 0, 1)
        * _between(f.u[:, 13], 0.35, 0.75)[:, None, None]
    )
    tone += f.grain * np.float32(0.03)
    return _planes(
        hsv(f.hue, _between(f.u[:, 0], 0.06, 0.16), _between(f.u[:, 1], 0.7, 1.0)),
        np.clip(tone, 0, 1),
    )


def night(f: Fields) -> F32:
    """Dark sky with stars; a dim creature with a glow around it and light from one side."""
    light = _light(f)
    tone = 1 + np.float32(0.3) * f.texture + np.float32(0.3) * light
    for field, shade in f.blobs:
        tone += _cover(field) * (np.float32(0.5) * shade)[:, None, None]
    canvas = _planes(
        hsv(f.hue, _between(f.u[:, 0], 0.5, 0.8), _between(f.u[:, 1], 0.1, 0.32)), tone
    )
    canvas += ((f.grain > np.float32(2.4)) * np.float32(0.45))[:, None]
    whole = np.maximum(f.body, f.lobes)
    glow = np.clip(1 + whole * np.float32(0.16), 0, 1)
    over(canvas, _lobe_colour(f, 0.5, 0.7, 1.0), glow * glow * np.float32(0.22))
    over(canvas, _lobe_colour(f, 0.6, 0.3, 0.5), _cover(f.lobes))
    over(canvas, _body_colour(f, 0.6, 0.22, 0.42), _cover(f.body))
    rim = np.clip(np.float32(1.4) - np.abs(whole - np.float32(0.6)), 0, 1) * np.clip(
        np.float32(0.3) + light, 0, 1
    )
    canvas += (rim * _between(f.u[:, 13], 0.15, 0.45)[:, None, None])[:, None]
    return canvas


def mosaic(f: Fields) -> F32:
    """Everything but eyes and codes in square tiles with dark joints."""
    res = f.texture.shape[-1]
    tile = max(2, res * 3 // 40)
    middles = np.minimum(np.arange(0, res, tile) + tile // 2, res - 1)

    def tiled(field: F32) -> F32:
        return field[:, middles][:, :, middles]

    grain = tiled(f.grain)
    tone = 1 + np.float32(0.2) * tiled(f.texture) + np.float32(0.12) * grain
    for field, shade in f.blobs:
        tone += _cover(tiled(field)) * (np.float32(0.3) * shade)[:, None, None]
    tiles = _planes(
        hsv(f.hue, _between(f.u[:, 0], 0.25, 0.55), _between(f.u[:, 1], 0.5, 0.9)), tone
    )
    over(tiles, _lobe_colour(f, 0.9, 0.35, 0.9), np.round(_cover(tiled(f.lobes))))
    over(tiles, _body_colour(f, 0.5, 0.7, 1.0), np.round(_cover(tiled(f.body))))
    tiles *= (1 + np.float32(0.08) * grain)[:, None]
    joints = np.where(np.arange(res) % tile == 0, np.float32(0.78), np.float32(1))
    canvas: F32 = np.repeat(np.repeat(tiles, tile, axis=2)[:, :, :res], tile, axis=3)[..., :res]
    canvas *= joints[:, None] * joints[None]
    return canvas


STYLES: Mapping[str, Callable[[Fields], F32]] = {
    "paint": paint,
    "sketch": sketch,
    "night": night,
    "mosaic": mosaic,
}
