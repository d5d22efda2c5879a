"""DifferNet the way anyone would write it from the paper in plain PyTorch: a literal baseline for timings.

It shares no code with the package: Rudolph, Wandt, Rosenhahn, "Same Same But DifferNet", WACV 2021, sections
3 and 4.2, with the optimiser settings that its authors published. Images are decoded and turned by Pillow
anew for each step, in the process that trains; torch keeps its default threads. AlexNet has random weights
unless a file is given: the time does not depend on them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageEnhance
from torch import Tensor, nn
from torchvision.models import alexnet

SIZES = (448, 224, 112)
BLOCKS, HIDDEN, CLAMP = 8, 2048, 3.0
IMAGES_PER_STEP, VIEWS_PER_IMAGE = 24, 4
JITTER = (0.85, 1.15)
_MEAN = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
_STD = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)


class Subnet(nn.Sequential):
    """The fully connected net of a coupling: half of the vector to s and t of the other half."""

    def __init__(self, inputs: int, outputs: int, hidden: int) -> None:
        super().__init__(
            nn.Linear(inputs, hidden),
            nn.ReLU(),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
            nn.Linear(hidden, 2 * outputs),
        )


class Block(nn.Module):
    """A fixed random permutation, then the two affine couplings of eq. 1 with the soft clamp of eq. 2."""

    order: Tensor

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.register_buffer("order", torch.randperm(width))
        self.first = width // 2
        self.net1 = Subnet(self.first, width - self.first, hidden)
        self.net2 = Subnet(width - self.first, self.first, hidden)

    def forward(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Map (B, D) to (B, D) and the log-determinant (B,)."""
        y = y[:, self.order]
        in1, in2 = y[:, : self.first], y[:, self.first :]
        s1, t1 = self.net1(in1).chunk(2, dim=1)
        s1 = soft_clamp(s1)
        out2 = in2 * torch.exp(s1) + t1
        s2, t2 = self.net2(out2).chunk(2, dim=1)
        s2 = soft_clamp(s2)
        out1 = in1 * torch.exp(s2) + t2
        return torch.cat([out1, out2], dim=1), s1.sum(dim=1) + s2.sum(dim=1)


class Flow(nn.Module):
    """z = f_NF(y): the blocks one after another."""

    def __init__(self, width: int, blocks: int = BLOCKS, hidden: int = HIDDEN) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Block(width, hidden) for _ in range(blocks))

    def forward(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Map features (B, D) to latents (B, D) and the log-determinant (B,)."""
        log_det = torch.zeros(len(y), dtype=y.dtype)
        for block in self.blocks:
            y, change = block(y)
            log_det = log_det + change
        return y, log_det


class LiteralDetector:
    """The paper's procedure: AlexNet at three sizes, a flow of 8 blocks, fresh rotated views each step.

    ``seed`` decides weights, permutations, order of the images and views. ``weights`` is a file with
    torchvision's ImageNet weights of AlexNet; without it they are random.
    """

    def __init__(self, seed: int = 0, weights: Path | None = None) -> None:
        self.seed = seed
        self.generator = np.random.default_rng(seed)
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            network = alexnet(weights=None)
            self.flow = Flow(width=256 * len(SIZES))
        if weights is not None:
            network.load_state_dict(torch.load(weights, weights_only=True))
        self.backbone = network.features.eval().requires_grad_(False)
        self.optimizer = torch.optim.Adam(
            self.flow.parameters(), lr=2e-4, betas=(0.8, 0.8), eps=1e-4, weight_decay=1e-5
        )

    def train_steps(self, paths: Sequence[Path]) -> Iterator[float]:
        """Train for one epoch, yielding the loss of each step of 24 images in 4 views each."""
        self.flow.train()
        shuffled = [paths[index] for index in self.generator.permutation(len(paths))]
        for start in range(0, len(shuffled), IMAGES_PER_STEP):
            batch = shuffled[start : start + IMAGES_PER_STEP]
            views = [view for path in batch for view in render(path, VIEWS_PER_IMAGE, self.generator)]
            with torch.no_grad():
                y = self._features(_to_tensor(views))
            z, log_det = self.flow(y)
            loss = (z.square().sum(dim=1) / 2 - log_det).mean() / z.shape[1]
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            yield loss.item()

    @torch.no_grad()
    def score(self, path: Path, views: int = 64) -> float:
        """Return tau(x), the mean of ||z||^2 / 2 over random views, the same views for every image."""
        self.flow.eval()
        rendered = render(path, views, np.random.default_rng(self.seed))
        z, _ = self.flow(self._features(_to_tensor(rendered)))
        return float((z.square().sum(dim=1) / 2).mean())

    def _features(self, views: Tensor) -> Tensor:
        """Describe normalised views (B, 3, 448, 448) by features (B, 768)."""
        pooled = []
        for size in SIZES:
            scaled = views if size == SIZES[0] else F.interpolate(views, size=(size, size), mode="bilinear")
            pooled.append(self.backbone(scaled).mean(dim=(2, 3)))
        return torch.cat(pooled, dim=1)


def soft_clamp(h: Tensor) -> Tensor:
    """Return sigma_a(h) = (2a / pi) arctan(h / a), eq. 2, with a = 3."""
    return (2 * CLAMP / torch.pi) * torch.atan(h / CLAMP)


def render(path: Path, count: int, generator: np.random.Generator) -> list[Image.Image]:
    """Decode an image and return ``count`` randomly turned and jittered views of 448 x 448."""
    with Image.open(path) as opened:
        image = opened.convert("RGB").resize((SIZES[0], SIZES[0]), Image.Resampling.BILINEAR)
    views = []
    for _ in range(count):
        view = image.rotate(
            generator.uniform(0, 360), resample=Image.Resampling.BILINEAR, fillcolor=(0, 0, 0)
        )
        view = ImageEnhance.Brightness(view).enhance(generator.uniform(*JITTER))
        views.append(ImageEnhance.Contrast(view).enhance(generator.uniform(*JITTER)))
    return views


def _to_tensor(views: list[Image.Image]) -> Tensor:
    """Stack views to (B, 3, S, S), normalised as torchvision's ImageNet networks expect."""
    pixels = torch.from_numpy(np.stack([np.asarray(view) for view in views]))
    return (pixels.permute(0, 3, 1, 2).contiguous().float() / 255 - _MEAN) / _STD
