"""What an inspection station runs as graphs: rendering, scoring and heat maps, in operations that graphs know."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

from differnet.config.shape import Shape
from differnet.decision.early_stop import GROUP
from differnet.features.backbone.network import MultiScale
from differnet.features.backbone.onnx_runtime import to_onnx
from differnet.features.backbone.openvino_runtime import Graph, stacked, to_openvino
from differnet.features.backbone.shared_weights import SharedWeights
from differnet.features.pooling import RowReading
from differnet.features.views import sample, sampling_grid, shade, turn_back
from differnet.flow import localize, score
from differnet.flow.cells import Cells
from differnet.flow.fusion import Fusion
from differnet.flow.slopes import LatentNorm

if TYPE_CHECKING:
    from differnet.detector.detector import DifferNet

Format = Literal["onnx", "openvino"]


class Rendering(nn.Module):
    """T_i(x): a square (1, 3, S, T), angles, brightness and contrast (B,) to views (B, 3, S, T).

    As :func:`differnet.features.views.render`, to which a grey image is a case of its own.
    """

    x: Tensor
    y: Tensor

    def __init__(self, shape: Shape, fill: str) -> None:
        super().__init__()
        self.fill = fill
        upright = sampling_grid(torch.zeros(1), shape)
        self.register_buffer("x", upright[..., 0])
        self.register_buffer("y", upright[..., 1])

    def forward(self, square: Tensor, angles: Tensor, brightness: Tensor, contrast: Tensor) -> Tensor:
        """Show the square in every view."""
        cos, sin = (part.view(-1, 1, 1) for part in (torch.cos(angles), torch.sin(angles)))
        grid = torch.stack((self.x * cos - self.y * sin, self.x * sin + self.y * cos), dim=3)
        images = square.expand(angles.shape[0], -1, -1, -1)
        return shade(sample(images, grid, self.fill), brightness, contrast)


class Head(nn.Module):
    """Features of one tile (B, W) to the readings of each view (B, R), as :class:`differnet.flow.fusion.Fusion`."""

    def __init__(self, fusion: Fusion) -> None:
        super().__init__()
        self.fusion = fusion.of_tile
        self.norms = nn.ModuleList(
            LatentNorm(flow, whole=near is not None)
            for (flow, _), near in zip(self.fusion.parts, self.fusion.near, strict=True)
        )

    @property
    def width(self) -> int:
        """W, how long a row of features is."""
        return self.fusion.reads[0].width

    @property
    def parts(self) -> list[tuple[LatentNorm, RowReading]]:
        """Each norm with what it reads."""
        norms = [norm for norm in self.norms if isinstance(norm, LatentNorm)]
        return list(zip(norms, self.fusion.reads, strict=True))

    def forward(self, features: Tensor) -> Tensor:
        """Score the views."""
        norms, distances = [], []
        for (norm, read), near in zip(self.parts, self.fusion.near, strict=True):
            z = norm.latents(self.rows(features, read))
            found = score.latent_norm(z)
            norms.append(read.of_view(found))
            if near is not None:
                distances.append(near(z, found.view(-1, len(read.columns))))
        return torch.stack(norms + distances, dim=1)

    def slopes(self, features: Tensor, sizes: Sequence[int]) -> Tensor:
        """Return how each view's norms and distances rise with what is read (B, sum of P * D), flow after flow.

        Each in its share of a heat map: see :meth:`differnet.flow.fusion.Fusion.shares`.
        """
        each = zip(self.parts, self.fusion.near, self.fusion.shares(sizes), strict=True)
        found = [
            share * norm.rise(self.rows(features, read), near).slopes.reshape(features.shape[0], -1)
            for (norm, read), near, share in each
        ]
        return torch.cat(found, dim=1)

    def rows(self, features: Tensor, read: RowReading) -> Tensor:
        """Take what is mapped (B * P, D) from rows (B, W), as :meth:`differnet.features.pooling.RowReading.rows`."""
        return features[:, read.columns].flatten(0, 1)


class Scoring(nn.Module):
    """Views of one tile (B, 3, S, T) to their readings (B, R) and to their features (B, W)."""

    def __init__(self, module: MultiScale, fusion: Fusion) -> None:
        super().__init__()
        self.module = module
        self.head = Head(fusion)

    def forward(self, views: Tensor) -> tuple[Tensor, Tensor]:
        """Describe and score the views."""
        features = self.module(views)
        return self.head(features), features


class HeatMapping(nn.Module):
    """Heat of one tile (S, T) from its turned views (V, 3, S, T), as :func:`differnet.flow.localize.contribution_maps`.

    The slope of the score comes from :mod:`differnet.flow.slopes`; nothing goes back through the backbone. Raises
    :class:`ConfigError` for a flow that knows no mean.
    """

    reference: Tensor
    places: Tensor
    kernel: Tensor
    grid: Tensor

    def __init__(
        self,
        module: MultiScale,
        fusion: Fusion,
        cells: Cells | None,
        blur: float,
        angles: Tensor,
        shape: Shape,
        takes: Sequence[str] = (),
    ) -> None:
        super().__init__()
        self.module = module
        self.cells = cells
        self.takes = tuple(takes)
        self.head = Head(fusion)
        self.angles = angles
        self.shape = shape
        self.register_buffer("reference", self.head.fusion.means())
        self.register_buffer(
            "places", _inverse([read.columns for _, read in self.head.parts], self.head.width)
        )
        self.register_buffer("kernel", localize.gaussian_kernel(blur, min(shape)).float())
        self.register_buffer("grid", sampling_grid(-angles, shape))

    def forward(self, views: Tensor, *others: Tensor) -> Tensor:
        """Share the scores of the views out among their cells, and turn the maps back.

        ``others``, which ``takes`` names: the ``"features"`` (V, W) that the flow was fitted to; the ``"tile"`` (T,), 1
        for the one that is shown and 0 for the rest.
        """
        given = dict(zip(self.takes, others, strict=True))
        features, tile = given.get("features"), given.get("tile")
        maps = self.module.feature_maps(views)
        parts = self.module.parts_of(views)
        pooled = self.module.pool(maps, parts)
        at = pooled if features is None else features
        rows = self.head.slopes(at, self.module.sizes)
        nothing = rows.new_zeros(views.shape[0], 1)
        slopes = torch.cat((rows, nothing), dim=1)[:, self.places]
        reference = self.reference + pooled - at
        heat = localize.shared_out(maps, slopes, reference, parts, self.shape)
        if self.cells is not None:
            heat = self._of_tile(self.cells, tile).sharpened(maps, heat)
        heat = localize.blurred(heat, self.kernel)[:, 0]
        return heat[0] if len(self.angles) == 1 else turn_back(heat, self.angles, self.grid)

    @staticmethod
    def _of_tile(cells: Cells, tile: Tensor | None) -> Cells:
        if tile is None:
            return cells
        return cells._replace(mean=(tile @ cells.mean.flatten(1)).view(1, *cells.mean.shape[1:]))


def _inverse(columns: Sequence[Tensor], width: int) -> Tensor:
    """Where each of ``width`` columns of a row stands in what is taken by ``columns``; one past it: nowhere."""
    taken = torch.cat([one.flatten() for one in columns])
    places = torch.full((width,), len(taken))
    places[taken] = torch.arange(len(taken))
    return places


@dataclass(frozen=True)
class Traceable:
    """What becomes a graph of the station: a module for one ``role``, with its inputs by name and its outputs' names.

    ``any_count``: the inputs of which any number may come at a time.
    """

    role: str
    module: nn.Module
    inputs: Mapping[str, Tensor]
    outputs: Sequence[str]
    any_count: Sequence[str] = ()

    def write(self, weights: SharedWeights, form: Format) -> None:
        """Write the graph into the folder of ``weights``."""
        traced = self.module, self.inputs, self.outputs, self.any_count
        with torch.no_grad():
            if form == "onnx":
                weights.keep_onnx(self.role, to_onnx(*traced))
            else:
                weights.keep_openvino(self.role, Graph.of(to_openvino(*traced)))


def write_graphs(
    detector: DifferNet, folder: Path, form: Format, maps: Mapping[str, Any] | None, render: bool
) -> None:
    """Write the graph of each role into ``folder``; ``maps``: what the manifest says of heat maps, if there are any."""
    model, shape = detector.model, detector.describer.shape
    fusion, weights = model.fusion, SharedWeights(folder)
    views = torch.zeros(GROUP, 3, *shape)
    if model.graph is not None:
        head = Head(fusion)
        rows = {"features": torch.zeros(GROUP, head.width)}
        graph = stacked(model.graph, to_openvino(head, rows, ("norms",), tuple(rows)))
        weights.keep_openvino("score", Graph.of(graph))
    else:
        scoring = Scoring(detector.module, fusion)
        Traceable("score", scoring, {"views": views}, ("norms", "features"), ("views",)).write(weights, form)
    if render:
        each = {name: torch.ones(GROUP) for name in ("angles", "brightness", "contrast")}
        rendering = Rendering(shape, detector.settings.views.fill)
        inputs = {"square": views[:1], **each}
        Traceable("render", rendering, inputs, ("views",), tuple(each)).write(weights, form)
    if maps:
        angles = torch.tensor(maps["angles"])
        inputs = {"views": torch.zeros(len(angles), 3, *shape)}
        if maps["takes_features"]:
            inputs["features"] = torch.zeros(len(angles), fusion.of_tile.reads[0].width)
        if maps["takes_tile"]:
            inputs["tile"] = torch.eye(detector.describer.tiles**2)[0]
        known = detector.module, fusion, model.cells, detector.settings.maps.blur
        mapping = HeatMapping(*known, angles, shape, list(inputs)[1:])
        Traceable("map", mapping, inputs, ("heat",)).write(weights, form)
