"""anomalib's two normalizing flows over feature maps, trained in a plain loop on our backbone weights.

Their authors train for hours on a GPU. Here the features of all images are described once, kept in 16 bits, and the
flows see as many steps as two CPU cores take in two or three minutes. No setting was tuned on any data set.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from differnet.data.formats.levels import Scale
from differnet.data.stream import Progress
from differnet.evaluation.baselines.method import fitted
from differnet.evaluation.baselines.peers import (
    BACKBONE,
    STRIDE_8,
    STRIDE_16,
    STRIDE_32,
    Peer,
    batches,
    give_weights,
    part_of,
)

_REFERENCE_IMAGES = 32


class PeerJudgement(NamedTuple):
    """A score () and a map (1, 1, S, S), named as anomalib names them."""

    pred_score: Tensor
    anomaly_map: Tensor


@dataclass
class Fastflow(Peer):
    """FastFlow: a flow of convolutions over each feature map (Yu et al., arXiv 2111.07677).

    Stages of strides 4, 8 and 16, anomalib's blocks and loss: 8 steps, kernels of 3 and 1 in turn, Adam at 1e-3 with
    weight decay 1e-5. anomalib knows ResNets and two transformers as backbones, so the model is made for one and gets
    our network with norms and flows that fit it.
    """

    name = "fastflow"
    _offset = 1.0  # anomalib's map is minus a probability
    steps: int = 300
    batch: int = 16

    def _build(self) -> Any:
        module = part_of(self.name, "torch_model")
        model = module.FastflowModel((self.size, self.size), "resnet18", pre_trained=False, flow_steps=1)
        network = timm.create_model(BACKBONE, pretrained=False, features_only=True, out_indices=(1, 2, 3))
        shapes = [
            (channels, self.size // stride, self.size // stride)
            for channels, stride in zip(
                network.feature_info.channels(), network.feature_info.reduction(), strict=True
            )
        ]
        self.remark = give_weights(network, STRIDE_16, self.weights)
        model.feature_extractor = network.requires_grad_(False)
        model.norms = nn.ModuleList(nn.LayerNorm(shape) for shape in shapes)
        model.fast_flow_blocks = nn.ModuleList(
            module.create_fast_flow_block(list(shape), conv3x3_only=False, hidden_ratio=1.0, flow_steps=8)
            for shape in shapes
        )
        return model

    def _learn(self, model: Any, paths: Sequence[Path], progress: Progress) -> None:
        bank = describe(model.feature_extractor, paths, self.size, progress, self._scale)
        loss_of = part_of(self.name, "loss").FastflowLoss()
        learnt = [value for value in model.parameters() if value.requires_grad]
        descent = torch.optim.Adam(learnt, lr=1e-3, weight_decay=1e-5)
        flows = list(zip(bank, model.norms, model.fast_flow_blocks, strict=True))
        for step, chosen in enumerate(_draws(len(paths), self.batch, self.steps), 1):
            pairs = [flow(norm(maps[chosen].float())) for maps, norm, flow in flows]
            loss = loss_of([z for z, _ in pairs], [log_det for _, log_det in pairs])
            descent.zero_grad()
            loss.backward()
            descent.step()
            progress("training", step, self.steps)


@dataclass
class Cflow(Peer):
    """CFLOW-AD: a flow of the features at each position, given the position (Gudovskiy et al., WACV 2022).

    Stages of strides 8, 16 and 32, anomalib's decoders and loss. A step takes ``batch`` positions of each
    stage, drawn at random; Adam at 1e-3. For the score the likelihoods p of each stage are divided by the largest of
    some training images, where anomalib divides by the largest of the image that it judges (and the authors by that of
    the whole test set), so that a score is a function of model and image alone. Map: sum over stages of 1 - p.
    """

    name = "cflow"
    steps: int = 300
    batch: int = 512
    _tops: list[float] = field(default_factory=list, init=False, repr=False)

    def _build(self) -> Any:
        layers = [STRIDE_8, STRIDE_16, STRIDE_32]
        model = part_of(self.name, "torch_model").CflowModel(BACKBONE, layers, pre_trained=False)
        self.remark = give_weights(model.encoder.feature_extractor, layers[-1], self.weights)
        return model

    def _learn(self, model: Any, paths: Sequence[Path], progress: Progress) -> None:
        bank = describe(model.encoder.feature_extractor, paths, self.size, progress, self._scale)
        descent = torch.optim.Adam(model.decoders.parameters(), lr=1e-3)
        for step in range(1, self.steps + 1):
            losses = []
            for maps, decoder in zip(bank, model.decoders, strict=True):
                image = torch.randint(len(maps), (self.batch,))
                place = torch.randint(maps[0, 0].numel(), (self.batch,))
                rows = maps.flatten(2)[image, :, place].float()
                losses.append(-F.logsigmoid(self._likelihoods(model, decoder, rows, maps, place)).mean())
            descent.zero_grad()
            torch.stack(losses).sum().backward()
            descent.step()
            progress("training", step, self.steps)
        model.eval()
        some = [maps[:_REFERENCE_IMAGES].float() for maps in bank]
        self._tops = [float(found.max()) for found in self._of_maps(model, some)]

    def _judge(self, image: Tensor) -> PeerJudgement:
        model = fitted(self._model, self)
        total = torch.zeros(1, 1, self.size, self.size)
        found = self._of_maps(model, model.encoder.feature_extractor(image))
        for likelihoods, top in zip(found, self._tops, strict=True):
            unlikely = 1 - (likelihoods - top).clamp(max=0).exp()
            total += F.interpolate(
                unlikely[:, None], (self.size, self.size), mode="bilinear", align_corners=True
            )
        return PeerJudgement(total.max(), total)

    @torch.no_grad()
    def _of_maps(self, model: Any, stages: Sequence[Tensor]) -> list[Tensor]:
        """Return log-likelihoods a dimension (N, H, W) of the feature maps (N, C, H, W) of each stage."""
        found = []
        for maps, decoder in zip(stages, model.decoders, strict=True):
            count, channels, height, width = maps.shape
            rows = maps.permute(0, 2, 3, 1).reshape(-1, channels)
            places = torch.arange(height * width).repeat(count)
            found.append(self._likelihoods(model, decoder, rows, maps, places).view(count, height, width))
        return found

    def _likelihoods(self, model: Any, decoder: Any, rows: Tensor, maps: Tensor, places: Tensor) -> Tensor:
        """Return log-likelihoods a dimension (B,) of features (B, C) at ``places`` of feature maps."""
        channels, height, width = maps.shape[1:]
        tools = part_of(self.name, "utils")
        where = tools.positional_encoding_2d(model.condition_vector, height, width).flatten(1).T[places]
        z, log_det = decoder(rows, [where])
        likelihoods: Tensor = tools.get_logp(channels, z, log_det) / channels
        return likelihoods


@torch.no_grad()
def describe(
    network: Any, paths: Sequence[Path], size: int, progress: Progress, scale: Scale
) -> list[Tensor]:
    """Return the feature maps of all images, one tensor (N, C, H, W) a stage, in 16 bits."""
    network.eval().to(memory_format=torch.channels_last)
    parts = [[maps.half() for maps in network(batch)] for batch in batches(paths, size, progress, scale)]
    network.to(memory_format=torch.contiguous_format)
    return [torch.cat(stage).contiguous() for stage in zip(*parts, strict=True)]


def _draws(count: int, batch: int, steps: int) -> Iterator[Tensor]:
    """Yield positions of images, one order of all after the other; from the global generator, as anomalib draws."""
    order = torch.empty(0, dtype=torch.long)
    for _ in range(steps):
        while len(order) < batch:
            order = torch.cat([order, torch.randperm(count)])
        yield order[:batch]
        order = order[batch:]
