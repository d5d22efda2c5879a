"""A slow, literal re-derivation of the paper's equations in NumPy and plain autograd.

Nothing here imports the package; numbers go in and out as arrays, and every sum is a loop.
"""

from __future__ import annotations

import math

import numpy as np


def soft_clamp(h, a):
    """Eq. 2."""
    return 2 * a / math.pi * math.atan(h / a)


def dense(weights, x):
    """A fully connected network with ReLU between layers, one number at a time."""
    for index, (matrix, bias) in enumerate(weights):
        y = []
        for row, b in zip(matrix, bias, strict=True):
            total = b
            for w, v in zip(row, x, strict=True):
                total += w * v
            y.append(total)
        x = [max(v, 0.0) for v in y] if index < len(weights) - 1 else y
    return x


def coupling_block(x, weights1, weights2, a):
    """Eq. 1 for one vector; returns the output and the sum of the clamped s."""
    half = len(x) // 2
    in1, in2 = x[:half], x[half:]
    log_det = 0.0
    st = dense(weights1, in1)
    s1, t1 = st[: len(in2)], st[len(in2) :]
    out2 = []
    for v, s, t in zip(in2, s1, t1, strict=True):
        out2.append(v * math.exp(soft_clamp(s, a)) + t)
        log_det += soft_clamp(s, a)
    st = dense(weights2, out2)
    s2, t2 = st[: len(in1)], st[len(in1) :]
    out1 = []
    for v, s, t in zip(in1, s2, t2, strict=True):
        out1.append(v * math.exp(soft_clamp(s, a)) + t)
        log_det += soft_clamp(s, a)
    return out1 + out2, log_det


def flow(x, blocks, a):
    """8 (or any number of) blocks: a fixed permutation, then a coupling block."""
    log_det = 0.0
    for order, weights1, weights2 in blocks:
        x = [x[i] for i in order]
        x, part = coupling_block(x, weights1, weights2, a)
        log_det += part
    return x, log_det


def loss(z, log_det):
    """Eq. 4 for one latent."""
    return sum(v * v for v in z) / 2 - log_det


def score(latents):
    """Eq. 5: the mean over views of -log p_Z(z), without the constant (D / 2) log(2 pi)."""
    return sum(sum(v * v for v in z) / 2 for z in latents) / len(latents)


def gaussian(image, sigma):
    """Blur one plane by a Gaussian cut off at 3 sigma, mirrored at the rim without repeating it."""
    radius = round(3 * sigma)
    kernel = np.array([math.exp(-(d * d) / (2 * sigma * sigma)) for d in range(-radius, radius + 1)])
    kernel /= kernel.sum()
    padded = np.pad(image, radius, mode="reflect")
    out = np.zeros_like(image)
    for dy, ky in enumerate(kernel):
        for dx, kx in enumerate(kernel):
            out += ky * kx * padded[dy : dy + image.shape[0], dx : dx + image.shape[1]]
    return out


def gradient_map(gradient, sigma):
    """Eq. 7 from dL/dx (C, H, W): blur, absolute value, sum over channels."""
    return sum(np.abs(gaussian(channel, sigma)) for channel in gradient)


def rotate(plane, angle):
    """Turn a square plane counter-clockwise about its centre, bilinearly, zero outside."""
    n = plane.shape[0]
    centre = (n - 1) / 2
    out = np.zeros_like(plane)
    for row in range(n):
        for column in range(n):
            x, y = column - centre, row - centre
            sx = math.cos(angle) * x - math.sin(angle) * y + centre
            sy = math.sin(angle) * x + math.cos(angle) * y + centre
            x0, y0 = math.floor(sx), math.floor(sy)
            for yy, wy in ((y0, 1 - (sy - y0)), (y0 + 1, sy - y0)):
                for xx, wx in ((x0, 1 - (sx - x0)), (x0 + 1, sx - x0)):
                    if 0 <= yy < n and 0 <= xx < n:
                        out[row, column] += wy * wx * plane[yy, xx]
    return out
