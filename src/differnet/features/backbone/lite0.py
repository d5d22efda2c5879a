"""EfficientNet-Lite0 without what comes after its features, as fast as a frozen network can be had."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from differnet.config.shape import Shape


class Lite0(nn.Module):
    """EfficientNet-Lite0 up to and including the last of some stages of its blocks, all of which it returns.

    ``averaging``: by some factors, what averages images down and is the first layer, in one.
    """

    def __init__(self, network: Any, stages: tuple[int, ...]) -> None:
        super().__init__()
        self.conv_stem = network.conv_stem
        self.bn1 = network.bn1
        self.blocks = network.blocks[: stages[-1] + 1]
        self.stages = stages
        self.averaging = nn.ModuleDict()

    @property
    def factors(self) -> set[int]:
        """By how much images can be averaged down in the first layer."""
        return {int(factor) for factor in self.averaging}

    def average(self, factors: Iterable[int]) -> None:
        """Have images averaged down by such ``factors`` from now on, by the first layer as it is now."""
        self.averaging = nn.ModuleDict({str(n): _AveragingConvolution(self.conv_stem, n) for n in factors})

    def forward(self, images: Tensor, factor: int = 1) -> list[Tensor]:
        """Return the feature maps of images that are averaged down by a ``factor``."""
        stem = self.conv_stem if factor == 1 else self.averaging[str(factor)]
        features: Tensor = self.bn1(stem(images))
        maps = []
        for stage, block in enumerate(self.blocks):
            features = block(features)
            if stage in self.stages:
                maps.append(features)
        return maps


class _AveragingConvolution(nn.Module):
    """A convolution of images that are averaged down by a factor, as one of the large images.

    Average pooling in OpenVINO takes three channels for sixteen and lays the pixels out anew, there and back, which
    takes a seventh of the whole network's time where the cores are far from each other. The sides are filled up as
    TensorFlow does ("same"), as far as is needed and one more at the end than at the beginning.
    """

    weight: Tensor

    def __init__(self, convolution: nn.Conv2d, factor: int) -> None:
        super().__init__()
        spread = convolution.weight.repeat_interleave(factor, dim=2).repeat_interleave(factor, dim=3)
        self.register_buffer("weight", spread.detach() / factor**2)
        self.bias = convolution.bias
        self.factor = factor
        self.kernel, self.stride = int(convolution.kernel_size[0]), int(convolution.stride[0])

    def forward(self, images: Tensor) -> Tensor:
        """Map large images (B, 3, S, T)."""
        down, across = (self._fill(side // self.factor) for side in images.shape[-2:])
        filled = F.pad(images, [self.factor * count for count in (*across, *down)])
        return F.conv2d(filled, self.weight, self.bias, self.factor * self.stride)

    def _fill(self, side: int) -> Shape:
        """Return how many pixels of the small image are put before and after a side."""
        missing = (-(-side // self.stride) - 1) * self.stride + self.kernel - side
        missing = max(missing, 0)
        return missing // 2, missing - missing // 2


@torch.no_grad()
def fold_normalisation(network: nn.Module) -> None:
    """Fold each batch normalisation into the convolution right before it, in place.

    Only for networks whose children stand in the order in which they run, as timm's EfficientNets do. A
    frozen network gives the same features up to rounding; gradients to the pixels take a quarter less time.
    """
    children = list(network.named_children())
    for (_, conv), (name, norm) in itertools.pairwise(children):
        if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
            fused = torch.nn.utils.fuse_conv_bn_eval(conv, _plain_norm(norm))
            conv.weight, conv.bias = fused.weight, fused.bias
            setattr(network, name, getattr(norm, "act", nn.Identity()))
    for _, child in children:
        fold_normalisation(child)


def _plain_norm(norm: nn.BatchNorm2d) -> nn.BatchNorm2d:
    """Return timm's normalisation without the activation it carries."""
    plain = nn.BatchNorm2d(norm.num_features, eps=norm.eps)
    plain.load_state_dict(norm.state_dict())
    return plain.eval()
