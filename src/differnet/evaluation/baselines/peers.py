"""What a user would pick instead: anomalib's models on the images and the backbone weights that differnet uses.

All run on EfficientNet-Lite0 at 256 x 256 pixels, anomalib's default, or another ``size``. The layers have the strides
of anomalib's defaults: 4, 8 and 16 for PaDiM (ResNet-18's layer1 to layer3), 8 and 16 for PatchCore (Wide ResNet-50's
layer2 and layer3).

anomalib's torch models are used as they are, without Lightning's engine, in the way that favours them: inference mode,
no backbone block computed that no layer reads, channels-last memory for the batches (faster there, slower for single
images). They run in PyTorch; what anomalib gains from its export to OpenVINO is not had. PatchCore's coreset selection
is anomalib's own, random projection included.
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib import import_module, metadata
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import timm
import torch
import torch.nn.functional as F
from torch import Tensor

from differnet.data.formats.levels import OWN, Scale
from differnet.data.images import load, resize_square
from differnet.data.stream import Progress, silent
from differnet.decision.verdict import Heat
from differnet.errors import MissingExtraError, WeightsError
from differnet.evaluation.baselines.method import check_count, fitted
from differnet.features.backbone.weights import (
    RANDOM,
    fill_by_name,
    fill_by_order,
    packaged_lite0,
    read_state,
)
from differnet.features.seeds import seeded
from differnet.features.white import scale_of

INSTALL = "pip install 'differnet[compare]'"
SIZE = 256
BATCH = 32
BACKBONE = "tf_efficientnet_lite0"
STRIDE_4, STRIDE_8, STRIDE_16, STRIDE_32 = "blocks.1", "blocks.2", "blocks.4", "blocks.6"


@dataclass
class Peer(ABC):
    """A model of anomalib's, fitted to image files in batches and asked about one file at a time.

    ``weights``: a file of the backbone's weights, ``"random"``, or nothing for those of ImageNet. A file for another
    network is put aside for those of ImageNet, and ``remark`` says so after a fit. ``size``: of its square, in pixels,
    a multiple of 32. Raises :class:`MissingExtraError`
    when anomalib is not installed.
    """

    name: ClassVar[str]
    weights: str | None = None
    size: int = SIZE
    anomalib: str = field(init=False)
    remark: str = field(default="", init=False, repr=False)
    _model: Any = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        part_of(self.name, "torch_model")
        self.anomalib = metadata.version("anomalib")

    def fit(
        self,
        paths: Sequence[Path],
        seed: int,
        progress: Progress = silent,
        groups: Sequence[Hashable] | None = None,  # noqa: ARG002
    ) -> None:
        """Decode good images, describe them, and fit the model to their features; groups say nothing to it."""
        check_count(paths, 2, self)
        self._scale = scale_of(paths)
        with seeded(seed):
            model = self._build().eval()
        with seeded(seed):
            self._learn(model, paths, progress)
        self._model = model

    @torch.inference_mode()
    def score(self, path: Path) -> float:
        """Decode an image and return anomalib's anomaly score of it."""
        return float(self._judge(read([path], self.size, self._scale).contiguous()).pred_score)

    @torch.inference_mode()
    def localize(self, path: Path) -> Heat:
        """Return anomalib's map, resized to the image and moved to begin at 0 or above."""
        image = read([path], self.size, self._scale).contiguous()
        found = self._judge(image).anomaly_map.reshape(1, 1, self.size, self.size) + self._offset
        heat = F.interpolate(found, load(path, self._scale).shape[:2], mode="bilinear", align_corners=False)
        return np.asarray(heat[0, 0].clamp(min=0).numpy(), dtype=np.float32)

    _offset: ClassVar[float] = 0.0
    _scale = OWN  # until a fit settles it

    def _judge(self, image: Tensor) -> Any:
        """Return ``pred_score`` and ``anomaly_map`` of an image (1, 3, S, S)."""
        return fitted(self._model, self)(image)

    @abstractmethod
    def _build(self) -> Any:
        """Make the model, with our weights in its backbone."""

    @abstractmethod
    def _learn(self, model: Any, paths: Sequence[Path], progress: Progress) -> None:
        """Fit the model."""


class _Remembering(Peer):
    """A model that gathers the features of all images before it makes something of them."""

    @torch.inference_mode()
    def _learn(self, model: Any, paths: Sequence[Path], progress: Progress) -> None:
        model.train().to(memory_format=torch.channels_last)
        for batch in batches(paths, self.size, progress, self._scale):
            model(batch)
        progress("learning features", 0, 1)
        self._finish(model)
        progress("learning features", 1, 1)
        model.eval().to(memory_format=torch.contiguous_format)

    @abstractmethod
    def _finish(self, model: Any) -> None:
        """Turn the features gathered into what the model scores with."""


@dataclass
class Padim(_Remembering):
    """PaDiM: a Gaussian at each position of the feature maps; the score is the largest Mahalanobis distance.

    Layers blocks.1, blocks.2 and blocks.4 (24 + 40 + 112 channels at strides 4, 8, 16), of which 100 channels
    are drawn at random: anomalib's number for ResNet-18, whose layers have the same strides. Defard et al., ICPR 2020.
    """

    name = "padim"
    channels: int = 100

    def _build(self) -> Any:
        layers = [STRIDE_4, STRIDE_8, STRIDE_16]
        make = part_of(self.name, "torch_model").PadimModel
        model = make(backbone=BACKBONE, layers=layers, pre_trained=False, n_features=self.channels)
        self.remark = give_weights(model.feature_extractor.feature_extractor, layers[-1], self.weights)
        return model.requires_grad_(False)

    def _finish(self, model: Any) -> None:
        model.fit()


@dataclass
class Patchcore(_Remembering):
    """PatchCore: distance to the nearest remembered patch of good images, weighted by its 9 neighbours.

    Layers blocks.2 and blocks.4 (40 + 112 channels at strides 8 and 16). A tenth of the patches is remembered,
    anomalib's default, or as many as ``distances`` allow: choosing them takes one for each patch and each that is
    remembered. That is 0.1 % of the patches of 760 images, where a tenth would take a hundred times as long, and
    a tenth of those of 70. Roth et al., CVPR 2022.
    """

    name = "patchcore"
    coreset_ratio: float = 0.1
    distances: float = 6.1e8

    def _build(self) -> Any:
        layers = [STRIDE_8, STRIDE_16]
        make = part_of(self.name, "torch_model").PatchcoreModel
        model = make(backbone=BACKBONE, layers=layers, pre_trained=False)
        self.remark = give_weights(model.feature_extractor.feature_extractor, layers[-1], self.weights)
        return model.requires_grad_(False)

    def _finish(self, model: Any) -> None:
        patches = sum(map(len, model.embedding_store))
        model.subsample_embedding(min(self.coreset_ratio, self.distances / patches**2))


def part_of(name: str, part: str) -> Any:
    """Import a part of anomalib's model ``name``; raises :class:`MissingExtraError` with the way to install it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # about modules that are not used here
            return import_module(f"anomalib.models.image.{name}.{part}")
    except ImportError as error:
        raise MissingExtraError(
            f"{name} is anomalib's, which could not be imported ({error}): {INSTALL}"
        ) from error


def give_weights(network: Any, last: str, source: str | None) -> str:
    """Give timm's feature network EfficientNet-Lite0's weights, and drop the blocks after the ``last`` that is read.

    Return what must be said of it: that ``source`` holds another network's weights and those of ImageNet were taken.
    """
    remark = ""
    if source != RANDOM:
        whole = timm.create_model(BACKBONE, pretrained=False)
        path = str(source or packaged_lite0())
        state = read_state(path)
        try:
            fill_by_order(whole, state, path)
        except WeightsError:
            if source is None:
                raise
            remark = f"{Path(path).name} is not for EfficientNet-Lite0: ImageNet weights instead"
            path = str(packaged_lite0())
            fill_by_order(whole, read_state(path), path)
        fill_by_name(network, whole.state_dict(), path)
    del network.blocks[int(last.removeprefix("blocks.")) + 1 :]
    return remark


def batches(paths: Sequence[Path], size: int, progress: Progress, scale: Scale) -> Iterator[Tensor]:
    """Read images 32 at a time."""
    remaining, done = iter(paths), 0
    while some := list(islice(remaining, BATCH)):
        yield read(some, size, scale)
        done += len(some)
        progress("describing images", done, len(paths))


def read(paths: Sequence[Path], size: int, scale: Scale) -> Tensor:
    """Decode images to (B, 3, size, size), channels last, normalised by (x - 127) / 128 as Google trained."""
    pixels = np.stack([resize_square(load(path, scale), size) for path in paths])
    return (torch.from_numpy(pixels).permute(0, 3, 1, 2) - 127.0) / 128.0
