"""Do parts lie any way? Good images are compared with each other, one of two turned: do they differ by a turn?

Of parts that lie any way, two are most alike at an angle that chance has drawn, much more alike there than as they are,
and the angles of three agree: what turns the first to the second and that to the third turns the first to the third.
Parts that lie one way are most alike upright. Where turns bring images little nearer, or do not agree (a texture, a
round part), nothing can be told, and views stay upright, which was safe wherever it was measured (docs/decisions.md
has the figures). Mirrored copies have no say: a part of one hand is never seen mirrored.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Hashable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from differnet.config import presets
from differnet.config.settled import provisional
from differnet.config.shape import Shape
from differnet.data.square import place
from differnet.data.stream import LookAhead, Progress, in_lanes
from differnet.errors import NumericalError
from differnet.features.backbone.network import MultiScale
from differnet.features.backbone.select import stage_maps_of
from differnet.features.backbone.torch_runtime import count_lanes, lanes, one_torch_thread
from differnet.features.look import Look
from differnet.features.seeds import generator
from differnet.features.views import sample, sampling_grid

IMAGES = 20  # that are compared with each other
ANGLES = 12  # steps of 30 degrees
FEWEST = 80  # images, or groups of them: a hundred of which a fifth is held out
MOST_UPRIGHT = 0.42  # of the pairs; where parts lie one way or two, at least 0.47 are most alike upright
NEARER = 0.85  # of the squared distance; cloth and round parts stay above 0.9
AGREE = 0.5  # of the triples; textures stay below 0.4
_SIDE = 224  # pixels
_TOGETHER = 4  # views that go through PyTorch at once: a third of the room of 12, and a fourth less time
_LANES = 4  # each holds what the network computes of them, some 50 MB in PyTorch
_CELLS = 7
_LEAST_SPREAD = 1e-3  # of the mean over channels: what hardly varies is not blown up


@dataclass(frozen=True)
class Turning:
    """Whether good images differ from each other by a turn; nothing is known where there are too few of them.

    ``share``: of the ordered ``pairs`` of ``images``, those that are most alike within 30 degrees of upright: 0.25 by
    chance. ``ratio``: the median of the squared distance at the best angle over that upright, 1 where no turn brings
    them nearer. ``agreement``: the share of triples whose best angles agree within 30 degrees, 0.25 by chance.
    ``independent``: how many good images there are, or groups of them.
    """

    share: float | None
    ratio: float | None
    agreement: float | None
    pairs: int
    images: int
    independent: int

    @property
    def turns(self) -> bool:
        """Whether the evidence is strong that parts lie any way, and there are enough of them to learn that from."""
        if self.share is None or self.independent < FEWEST:
            return False
        return self.share <= MOST_UPRIGHT and self._can_tell

    @property
    def _can_tell(self) -> bool:
        if self.ratio is None or self.agreement is None:
            return False
        return self.ratio <= NEARER and self.agreement >= AGREE

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Turning:
        """Undo :func:`dataclasses.asdict`, also after JSON."""
        names = ("share", "ratio", "agreement")
        share, ratio, agreement = (None if values[n] is None else float(values[n]) for n in names)
        pairs, images, independent = (int(values[n]) for n in ("pairs", "images", "independent"))
        return cls(share, ratio, agreement, pairs, images, independent)

    def __str__(self) -> str:
        if self.share is None or self.ratio is None or self.agreement is None:
            return f"turning wants {FEWEST} good images or groups to fit to, here are {self.independent}"
        alike = f"{self.share:.0%} of {self.pairs} pairs of good images are most alike upright, 25% by chance"
        nearer = f"the best turn leaves {self.ratio:.0%} of their distance, {self.agreement:.0%} of the turns agree"
        if self.turns:
            return f"parts lie any way: {alike}; {nearer}"
        if self.share > MOST_UPRIGHT:
            return f"parts do not lie any way: {alike}"
        return f"how parts lie cannot be told: {alike}, but {nearer}"


class Compared(NamedTuple):
    """What pairs of images say: see :class:`Turning`."""

    share: float
    ratio: float
    agreement: float
    pairs: int


def look_for_turns(
    module: MultiScale,
    settings: presets.Config,
    images: Sequence[Look],
    groups: Sequence[Hashable] | None,
    seed: int,
    progress: Progress,
) -> Turning:
    """Compare up to 20 good images, each from a group of its own, where there are enough to fit turned views to.

    Raises :class:`NumericalError` for features that are not finite.
    """
    order = one_of_each(len(images), groups, seed)
    if len(order) < FEWEST:
        return Turning(None, None, None, 0, 0, len(order))
    chosen = [images[index] for index in order[:IMAGES]]
    found = compare(*describe_turned(module, settings, chosen, progress))
    return Turning(*found, images=len(chosen), independent=len(order))


def one_of_each(count: int, groups: Sequence[Hashable] | None, seed: int) -> list[int]:
    """Return an image of each group in random order; images of one group say the same, and are not independent."""
    order = torch.randperm(count, generator=generator(seed, "turning")).tolist()
    first: dict[Hashable, int] = {}
    for index in order:
        first.setdefault(index if groups is None else groups[index], index)
    return list(first.values())


def describe_turned(
    module: MultiScale, settings: presets.Config, images: Sequence[Look], progress: Progress
) -> tuple[Tensor, ...]:
    """Return of every stage its features (N, 12, C, P) of N images turned in steps of 30 degrees, in P cells.

    A circle is cut out, so that no corner and no bar of the frame tells how a picture was turned; around it all have
    the grey that the network takes for zero. Some 120 views a second and core in OpenVINO.
    """
    device, side = module.mean.device, _side(module.sizes)
    canvas, framing = provisional(settings).canvas, settings.views
    count = min(count_lanes(), _LANES) if device.type == "cpu" else 1
    maps_of = stage_maps_of(module, settings.backbone, (side, side), count)
    angles = torch.arange(ANGLES) * (2 * math.pi / ANGLES)
    grid = sampling_grid(angles, (side, side)).to(device)
    middle = _middle(canvas)
    for image in images:
        image.bare(canvas)  # decoded in this shape, and no more
    inner = [min(*canvas, *place(one.seen.shape, canvas, framing)[2:]) for one in images]
    radius = statistics.median(inner) / min(canvas)
    is_part = _circle(side, radius).to(device)

    def in_cells(views: Tensor) -> list[Tensor]:
        return _in_cells(maps_of(views))

    @torch.inference_mode()  # which is a thread's own
    def describe(image: Look, square: npt.NDArray[np.float32]) -> list[Tensor]:
        shown = F.interpolate(torch.from_numpy(square).to(device)[None], (side, side), mode="area")
        turned = sample(shown.expand(ANGLES, -1, -1, -1), grid, "border")
        normalised = torch.where(is_part, (turned - module.mean) / module.std, 0.0)
        few = map(in_cells, normalised.split(_TOGETHER))
        stages = [torch.cat(parts) for parts in zip(*few, strict=True)]
        if not all(torch.isfinite(one).all() for one in stages):
            raise NumericalError(f"the backbone gave NaN or infinite features for {image}")
        return stages

    rows = []
    ahead = LookAhead(lambda one: one.square(canvas, framing)[middle], images, 2 * count)
    with closing(ahead), lanes(count) as pool, one_torch_thread():
        while found := ahead.take(count):
            for one in in_lanes(ahead, found, pool, describe, count):
                rows.append(one.result())
                progress("comparing turned images", len(rows), len(images))
    return tuple(torch.stack(stage) for stage in zip(*rows, strict=True))


def compare(*stages: Tensor) -> Compared:
    """Compare features (N, 12, C, P) of turned images with those of the other images upright.

    Channels are scaled by their standard deviation over the upright images. The mean over all turns of an image is
    taken off, since what turning leaves as it was (a colour, a brightness) says nothing of how the part lies.
    """
    scaled = torch.cat([_scaled(one).flatten(2) for one in stages], dim=2)
    own = scaled - scaled.mean(dim=1, keepdim=True)
    count = len(own)
    apart = torch.cdist(own.flatten(0, 1), own[:, 0]).square().view(count, ANGLES, count)
    apart = apart.transpose(1, 2)  # (N, N, 12)
    upright = apart[:, :, 0]
    nearest, angle = apart.min(dim=2)
    angle = torch.where(nearest == upright, 0, angle)  # of equals
    ratio = torch.where(upright > 0, nearest / upright.clamp(min=1e-30), 1.0)
    others = ~torch.eye(count, dtype=torch.bool)
    triples = others[:, :, None] & others & others[:, None]
    agree = _near_zero(angle[:, :, None] + angle - angle[:, None])[triples]
    shares = [float(one.float().mean()) for one in (_near_zero(angle)[others], agree)]
    return Compared(shares[0], float(ratio[others].median()), shares[1], int(others.sum()))


def _near_zero(steps: Tensor) -> Tensor:
    """Return which sums of steps of 30 degrees come to at most one."""
    return (steps + 1) % ANGLES <= 2


def _scaled(features: Tensor) -> Tensor:
    spread = features[:, 0].std(dim=(0, 2), correction=0)
    least = max(_LEAST_SPREAD * float(spread.mean()), 1e-12)
    return features / spread.clamp(min=least)[:, None]


def _in_cells(maps: Sequence[Tensor]) -> list[Tensor]:
    """Average maps (V, C, h, w) to at most 7 x 7 cells: (V, C, P) on the CPU."""
    sizes = [(min(_CELLS, one.shape[2]), min(_CELLS, one.shape[3])) for one in maps]
    pooled = [F.adaptive_avg_pool2d(one, size) for one, size in zip(maps, sizes, strict=True)]
    return [one.flatten(2).float().cpu() for one in pooled]


def _middle(canvas: Shape) -> tuple[slice, ...]:
    """Return where the largest square in the middle of an oblong (3, H, W) lies."""
    side = min(canvas)
    starts = [(length - side) // 2 for length in canvas]
    return slice(None), *(slice(start, start + side) for start in starts)


def _side(sizes: Sequence[int]) -> int:
    """Return the smallest size that shows enough, of those that the network is made for."""
    return min((size for size in sizes if size >= _SIDE), default=max(sizes))


def _circle(side: int, radius: float) -> Tensor:
    """Return which pixels of a square lie in the circle in its middle, whose radius is a share of half the side."""
    steps = (torch.arange(side) + 0.5) * (2 / side) - 1
    return steps.square()[:, None] + steps.square() <= radius**2
