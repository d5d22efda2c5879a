"""Synthetic parts of which it is known how they lie, 128 pixels wide."""

from __future__ import annotations

import numpy as np
from PIL import Image


def part(index, angle=0.0, is_mirrored=False):
    """A part of one hand, an F, a little out of its place and lit a little differently, on noise."""
    rng = np.random.default_rng(index)
    grey = np.full((128, 128), 60.0)
    grey[24:104, 40:56] = 220
    grey[24:40, 40:96] = 220
    grey[56:72, 40:80] = 220
    turned = Image.fromarray(grey.clip(0, 255).astype(np.uint8)).rotate(angle, Image.Resampling.BILINEAR)
    moved = np.roll(np.asarray(turned), rng.integers(-2, 3, 2), axis=(0, 1)) * rng.uniform(0.9, 1.1)
    return noisy(moved[:, ::-1] if is_mirrored else moved, rng)


def noisy(grey, rng, amount=8.0):
    bytes_ = np.clip(grey + rng.normal(0, amount, grey.shape), 0, 255).astype(np.uint8)
    return np.repeat(bytes_[..., None], 3, axis=2)


def any_angle(index):
    return np.random.default_rng([index, 1]).uniform(0, 360)


def lying_any_way(count=80):
    return [part(i, any_angle(i)) for i in range(count)]


def ring(index):
    """A round part, which looks the same however it lies."""
    steps = np.linspace(-1, 1, 128)
    away = np.hypot(steps[:, None], steps)
    return noisy(np.where(abs(away - 0.5) < 0.15, 220.0, 60.0), np.random.default_rng(index))


def speckled(index):
    """A texture without a direction."""
    return noisy(np.full((128, 128), 128.0), np.random.default_rng(index), 40)
