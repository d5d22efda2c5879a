"""EfficientNet-Lite0 up to the feature maps that are read, as fast as a frozen network can be had.

It is EfficientNet-B0 (Tan and Le, EfficientNet: Rethinking model scaling for convolutional neural networks, ICML 2019,
table 1) without squeeze and excitation, and with ReLU6. Names and order of its weights are those of timm's
``tf_efficientnet_lite0``, and features are the same to the bit; but to import timm takes 1.5 seconds and 190 MB, since
torchvision and torch's compiler come with it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class _Stage(NamedTuple):
    """Blocks of the same channels, of which the first one may take every second pixel."""

    kernel: int
    stride: int
    expansion: int
    channels: int
    blocks: int


_STEM, _HEAD, _CLASSES = 32, 1280, 1000
_STAGES = (
    _Stage(kernel=3, stride=1, expansion=1, channels=16, blocks=1),
    _Stage(kernel=3, stride=2, expansion=6, channels=24, blocks=2),
    _Stage(kernel=5, stride=2, expansion=6, channels=40, blocks=2),
    _Stage(kernel=3, stride=2, expansion=6, channels=80, blocks=3),
    _Stage(kernel=5, stride=1, expansion=6, channels=112, blocks=3),
    _Stage(kernel=5, stride=2, expansion=6, channels=192, blocks=4),
    _Stage(kernel=3, stride=1, expansion=6, channels=320, blocks=1),
)


class Whole(nn.Module):
    """All layers of EfficientNet-Lite0, those of its classes too, as files of its weights have them.

    Convolutions are drawn as TensorFlow draws them: normal, by the number of outputs that an input has a part in.
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv_stem = _Same(3, _STEM, 3, stride=2)
        self.bn1 = _norm(_STEM)
        self.blocks = nn.ModuleList(_stages())
        self.conv_head = nn.Conv2d(_STAGES[-1].channels, _HEAD, 1, bias=False)
        self.bn2 = _norm(_HEAD)
        self.classifier = nn.Linear(_HEAD, _CLASSES)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                outputs = math.prod(layer.kernel_size) * layer.out_channels // layer.groups
                nn.init.normal_(layer.weight, 0, math.sqrt(2 / outputs))


class Lite0(nn.Module):
    """EfficientNet-Lite0 up to and including the last of some stages of its blocks, all of which it returns.

    ``averaging``: by some factors, what averages images down and is the first layer, in one.
    """

    def __init__(self, network: Whole, stages: tuple[int, ...]) -> None:
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
        features = _cut(self.bn1(stem(images)))
        maps = []
        for stage, block in enumerate(self.blocks):
            features = block(features)
            if stage in self.stages:
                maps.append(features)
        return maps


def _stages() -> Iterable[nn.Sequential]:
    given = _STEM
    for stage in _STAGES:
        inputs = [given] + [stage.channels] * (stage.blocks - 1)
        strides = [stage.stride] + [1] * (stage.blocks - 1)
        made = _Separable if stage.expansion == 1 else _Inverted
        yield nn.Sequential(*(made(*one, stage) for one in zip(inputs, strides, strict=True)))
        given = stage.channels


class _Separable(nn.Module):
    """A convolution of each channel alone, then one of all channels at each pixel."""

    def __init__(self, given: int, stride: int, stage: _Stage) -> None:
        super().__init__()
        self.conv_dw = _Same(given, given, stage.kernel, stride, groups=given)
        self.bn1 = _norm(given)
        self.conv_pw = nn.Conv2d(given, stage.channels, 1, bias=False)
        self.bn2 = _norm(stage.channels)

    def forward(self, features: Tensor) -> Tensor:
        """Map features (B, C, h, w)."""
        inner = _cut(self.bn1(self.conv_dw(features)))
        found: Tensor = self.bn2(self.conv_pw(inner))
        return found


class _Inverted(nn.Module):
    """More channels, each convolved alone, then fewer, to which the input is added where its shape is the same.

    Source: Sandler et al., MobileNetV2: Inverted residuals and linear bottlenecks, CVPR 2018.
    """

    def __init__(self, given: int, stride: int, stage: _Stage) -> None:
        super().__init__()
        inner = given * stage.expansion
        self.conv_pw = nn.Conv2d(given, inner, 1, bias=False)
        self.bn1 = _norm(inner)
        self.conv_dw = _Same(inner, inner, stage.kernel, stride, groups=inner)
        self.bn2 = _norm(inner)
        self.conv_pwl = nn.Conv2d(inner, stage.channels, 1, bias=False)
        self.bn3 = _norm(stage.channels)
        self.is_residual = stride == 1 and given == stage.channels

    def forward(self, features: Tensor) -> Tensor:
        """Map features (B, C, h, w)."""
        inner = _cut(self.bn1(self.conv_pw(features)))
        inner = _cut(self.bn2(self.conv_dw(inner)))
        found: Tensor = self.bn3(self.conv_pwl(inner))
        return found + features if self.is_residual else found


def _cut(features: Tensor) -> Tensor:
    """Cut features to 0..6 where they lie in memory (ReLU6)."""
    return F.relu6(features, inplace=True)


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3)


class _Same(nn.Conv2d):
    """A convolution whose sides are filled up as TensorFlow does ("same")."""

    def __init__(self, given: int, channels: int, kernel: int, stride: int, groups: int = 1) -> None:
        padding = kernel // 2 if stride == 1 else 0
        super().__init__(given, channels, kernel, stride, padding, groups=groups, bias=False)

    def forward(self, images: Tensor) -> Tensor:
        """Map images (B, C, h, w) to 1 / stride of their sides, rounded up."""
        if self.stride[0] > 1:
            images = _filled(images, self.kernel_size[0], self.stride[0])
        return super().forward(images)


def _filled(images: Tensor, kernel: int, stride: int, factor: int = 1) -> Tensor:
    """Fill up the sides of images (B, C, h, w) as those are that a ``factor`` averages down: by as few as can be.

    Where the number for a side is odd, one more is put after it than before it.
    """
    counts = []
    for side in (int(images.shape[-1]) // factor, int(images.shape[-2]) // factor):
        missing = max((-(-side // stride) - 1) * stride + kernel - side, 0)
        counts += [factor * (missing // 2), factor * (missing - missing // 2)]
    return F.pad(images, counts)


class _AveragingConvolution(nn.Module):
    """A convolution of images that are averaged down by a factor, as one of the large images.

    Average pooling in OpenVINO takes three channels for sixteen and lays the pixels out anew, there and back, which
    takes a seventh of the whole network's time where the cores are far from each other.
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
        filled = _filled(images, self.kernel, self.stride, self.factor)
        return F.conv2d(filled, self.weight, self.bias, self.factor * self.stride)


@torch.no_grad()
def fold_normalisation(network: nn.Module) -> None:
    """Fold each batch normalisation into the convolution right before it, in place.

    Only for networks whose children stand in the order in which they run. A frozen network gives the same features up
    to rounding; gradients to the pixels take a quarter less time.
    """
    children = list(network.named_children())
    for (_, conv), (name, norm) in itertools.pairwise(children):
        if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
            fused = torch.nn.utils.fuse_conv_bn_eval(conv, norm)
            conv.weight, conv.bias = fused.weight, fused.bias
            setattr(network, name, nn.Identity())
    for _, child in children:
        fold_normalisation(child)
