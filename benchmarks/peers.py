"""What a user would pick instead: anomalib's PaDiM and PatchCore on the same images and backbone weights.

Both run on EfficientNet-Lite0 at 256 x 256 pixels, anomalib's default size, with the ImageNet weights that
differnet uses. The layers have the strides of anomalib's defaults: 4, 8 and 16 for PaDiM (ResNet-18's layer1
to layer3), 8 and 16 for PatchCore (Wide ResNet-50's layer2 and layer3).

anomalib's torch models are used as they are, without Lightning's engine, in the way that favours them:
inference mode, no backbone block computed that no layer reads, channels-last memory for the batches (faster
there, slower for single images). They run in PyTorch; what anomalib gains from its export to OpenVINO is
not measured. PatchCore's coreset selection is anomalib's own, random projection included.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from PIL import Image
from torch import Tensor

from differnet import weights

INSTALL = "pip install 'anomalib>=2.7,<3'"
SIZE = 256
BATCH = 32
_BACKBONE = "tf_efficientnet_lite0"
_STRIDE_4, _STRIDE_8, _STRIDE_16 = "blocks.1", "blocks.2", "blocks.4"


class _Peer:
    """A model of anomalib's, fitted to image files in batches and asked about one file at a time."""

    def __init__(self, model: Any, seed: int) -> None:
        self.seed = seed
        self._model = _with_our_weights(model).eval()

    @torch.inference_mode()
    def fit(self, paths: Sequence[Path]) -> None:
        """Decode good images, describe them, and fit the model to their features."""
        self._model.train().to(memory_format=torch.channels_last)
        with _seeded(self.seed):
            for batch in _batches(paths, BATCH):
                self._model(_read(batch))
            self._finish()
        self._model.eval().to(memory_format=torch.contiguous_format)

    @torch.inference_mode()
    def score(self, path: Path) -> float:
        """Decode an image and return anomalib's anomaly score of it; higher is more anomalous."""
        return float(self._model(_read([path]).contiguous()).pred_score)

    def _finish(self) -> None:
        """Turn the features gathered into what the model scores with."""
        raise NotImplementedError


class Padim(_Peer):
    """PaDiM: a Gaussian at each position of the feature maps; the score is the largest Mahalanobis distance.

    Layers blocks.1, blocks.2 and blocks.4 (24 + 40 + 112 channels at strides 4, 8, 16), of which 100 channels
    are drawn at random: anomalib's number for ResNet-18, whose layers have the same strides.
    """

    def __init__(self, seed: int = 0) -> None:
        layers = [_STRIDE_4, _STRIDE_8, _STRIDE_16]
        build = _anomalib("padim").PadimModel
        with _seeded(seed):
            model = build(backbone=_BACKBONE, layers=layers, pre_trained=False, n_features=100)
            super().__init__(model, seed)

    def _finish(self) -> None:
        self._model.fit()


class Patchcore(_Peer):
    """PatchCore: distance to the nearest remembered patch of good images, weighted by its 9 neighbours.

    Layers blocks.2 and blocks.4 (40 + 112 channels at strides 8 and 16). ``coreset_ratio`` is the part of
    the patches that is remembered; choosing them takes time in proportion to it, so that anomalib's own
    default, 0.1, would take a hundred times as long.
    """

    def __init__(self, coreset_ratio: float = 0.001, seed: int = 0) -> None:
        layers = [_STRIDE_8, _STRIDE_16]
        build = _anomalib("patchcore").PatchcoreModel
        with _seeded(seed):
            model = build(backbone=_BACKBONE, layers=layers, pre_trained=False)
            super().__init__(model, seed)
        self.coreset_ratio = coreset_ratio

    def _finish(self) -> None:
        self._model.subsample_embedding(self.coreset_ratio)


def _anomalib(name: str) -> Any:
    """Import the torch model ``name`` of anomalib, or say how to install it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # about modules that are not used here
            return import_module(f"anomalib.models.image.{name}.torch_model")
    except ImportError as error:
        raise ImportError(
            f"The comparison with {name} needs anomalib, which could not be imported ({error}); run: {INSTALL}"
        ) from error


def _with_our_weights(model: Any) -> Any:
    """Give the model differnet's backbone weights and drop the blocks after the last layer read."""
    whole = timm.create_model(_BACKBONE, pretrained=False)
    path = weights.packaged_lite0()
    weights.fill_by_order(whole, weights.read_state(path), str(path))
    network = model.feature_extractor.feature_extractor
    weights.fill_by_name(network, whole.state_dict(), str(path))
    last = max(int(layer.removeprefix("blocks.")) for layer in model.layers)
    del network.blocks[last + 1 :]
    return model.requires_grad_(False)


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Seed the global generators of torch and NumPy, which anomalib draws from, and put them back after."""
    before = np.random.get_state()  # noqa: NPY002
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        try:
            yield
        finally:
            np.random.set_state(before)  # noqa: NPY002


def _batches(paths: Sequence[Path], size: int) -> Iterator[list[Path]]:
    remaining = iter(paths)
    while batch := list(islice(remaining, size)):
        yield batch


def _read(paths: Sequence[Path]) -> Tensor:
    """Decode images to (B, 3, 256, 256), channels last, normalised by (x - 127) / 128 as Google trained."""
    return (torch.from_numpy(np.stack([_decode(path) for path in paths])).permute(0, 3, 1, 2) - 127.0) / 128.0


def _decode(path: Path) -> np.ndarray[Any, np.dtype[np.uint8]]:
    with Image.open(path) as opened:
        image = opened.convert("RGB").resize((SIZE, SIZE), Image.Resampling.BILINEAR)
    return np.asarray(image)
