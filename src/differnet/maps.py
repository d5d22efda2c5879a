"""Heat maps of many samples, measured against their masks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from differnet.data.samples import Sample
from differnet.data.stream import Progress
from differnet.decision.verdict import Heat
from differnet.metrics import PixelAupro, PixelAuroc, PixelFigures


def pixel_figures(
    localize: Callable[[Path], Heat],
    samples: Sequence[Sample],
    progress: Progress,
    on_heat: Callable[[int, Heat], None] | None,
) -> PixelFigures:
    """Measure heat maps over all images that are good or have a mask; ``on_heat`` sees each with its position."""
    area, regions = PixelAuroc(), PixelAupro()
    for index, sample in enumerate(samples):
        if sample.is_defective and sample.mask is None:
            continue
        heat = localize(sample.path)
        mask = sample.true_mask(heat.shape)
        area.add(heat, mask)
        regions.add(heat, mask)
        if on_heat:
            on_heat(index, heat)
        progress("drawing heat maps", index + 1, len(samples))
    return PixelFigures(area.value(), regions.value())
