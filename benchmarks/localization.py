"""Heat maps compared on magnetic tiles: eq. 7 as in the paper, and what shares the score out among features.

Usage: python benchmarks/localization.py MTD_FOLDER SPLIT_FILE [--out docs/results] [--images N] [--work FOLDER]

Two detectors are fitted, or taken from WORK: the default, and preset ``turned``, whose one feature map, 4 rotations
and blur are nearest to the paper's. Every way of drawing is measured on the same test tiles. The way and its blur
were chosen with the first 80 of them (in the order of seed 0) in view; these are told apart from the others, which
chose nothing. The demo's textures give the picture, since the tiles are not ours to show.
"""

from __future__ import annotations

import argparse
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

import differnet
from differnet import DifferNet
from differnet.config.settled import settle
from differnet.data import datasets
from differnet.data.images import load
from differnet.evaluation import demo, plots
from differnet.evaluation.metrics import PixelAupro, PixelAuroc
from differnet.features.tiles import enlarged, shown, to_square
from differnet.flow import score
from differnet.flow.localize import Localizer, contribution_maps, gaussian_blur, gradient_maps
from report import machine

Draw = Callable[[Tensor], Tensor]  # a square (3, S, S) to a map (S, S)
BLURS = (2, 4, 8, 12, 16, 24)
CHOSE = 80


def ways(detector: DifferNet) -> Iterator[tuple[str, Draw]]:
    """Yield every way to draw a map with a detector that starts as a Gaussian, and its name."""
    module, fusion = detector.module, detector.model.fusion
    for blur in (4, 12):
        yield (
            f"gradient to the pixels (eq. 7), blur {blur}",
            lambda x, b=blur: gradient_maps(x[None], module, fusion, b)[0],
        )
    yield "gradient times pixel, blur 12", lambda x: _times_pixel(x, detector)
    for blur in BLURS:
        yield (
            f"score shared out among features, blur {blur}",
            lambda x, b=blur: contribution_maps(x[None], module, fusion, b)[0],
        )
    for width in (3, 7):
        yield (
            f"norm of features around each place ({width} x {width} cells of 16 pixels), blur 12",
            lambda x, w=width: _norms_of_places(x, detector, w),
        )


def _times_pixel(square: Tensor, detector: DifferNet) -> Tensor:
    pixels = square[None].clone().requires_grad_(True)
    z, _ = detector.model.flow(detector.model.reading.rows(detector.module(pixels)))
    (slope,) = torch.autograd.grad(score.latent_norm(z).sum(), pixels)
    product = (slope * (square[None] - detector.module.mean)).sum(dim=1, keepdim=True)
    return gaussian_blur(product.clamp_min(0), 12.0)[0, 0]


@torch.no_grad()
def _norms_of_places(square: Tensor, detector: DifferNet, width: int) -> Tensor:
    """Map the mean of ``width`` x ``width`` cells around each place by the flow, and take the latent norm."""
    settings, module = detector.config, detector.module
    known, read = settings.backbone.stages, settings.reading.read_stages
    maps = module.feature_maps(square[None])
    stages = range(len(known)) if isinstance(read, str) else [known.index(stage) for stage in read]
    chosen = [maps[len(known) * size + stage] for size in range(len(module.sizes)) for stage in stages]
    cells = len(square[0]) // 16
    near = [
        F.avg_pool2d(
            F.interpolate(one, size=(cells, cells), mode="bilinear", align_corners=False),
            width,
            stride=1,
            padding=width // 2,
            count_include_pad=False,
        )
        for one in chosen
    ]
    z, _ = detector.model.flow(torch.cat(near, dim=1)[0].flatten(1).T)
    plane = score.latent_norm(z).view(1, 1, cells, cells)
    large = F.interpolate(plane, size=square.shape[1:], mode="bilinear", align_corners=False)
    return gaussian_blur(large, 12.0)[0, 0]


class Tally:
    """Pixel AUROC and AUPRO of one way over the images that chose and over the others, and the seconds it took."""

    def __init__(self) -> None:
        self.parts = [(PixelAuroc(), PixelAupro()) for _ in range(2)]
        self.seconds: list[float] = []

    def add(self, position: int, heat: np.ndarray, mask: np.ndarray) -> None:
        """Count the map of the image at a position of the random order."""
        for metric in self.parts[position >= CHOSE]:
            metric.add(heat, mask)

    def row(self, name: str) -> str:
        """Return a row of the table."""
        (a, b), (c, d) = [[metric.value() for metric in part] for part in self.parts]
        return f"| {name} | {a:.3f} | {b:.3f} | {c:.3f} | {d:.3f} | {1000 * np.median(self.seconds):.0f} |"


def measure(data: datasets.Dataset, work: Path, most: int | None) -> list[str]:
    """Return the rows of the table."""
    paths = [sample.path for sample in data.train]
    detectors = {
        preset: _fitted(work / f"{preset}.safetensors", preset, paths) for preset in ("turned", "single")
    }
    tallies: dict[str, Tally] = {}
    test = [sample for sample in data.test if sample.mask or not sample.is_defective]
    order = np.random.default_rng(0).permutation(len(test))[:most].tolist()
    for position, sample in enumerate(test[index] for index in order):
        pixels = load(sample.path)
        mask = sample.true_mask(pixels.shape[:2])
        started = time.perf_counter()
        heat = detectors["turned"].localize(sample.path)
        tally = tallies.setdefault("preset `turned`: eq. 7 on one feature map, 4 rotations, blur 4", Tally())
        tally.seconds.append(time.perf_counter() - started)
        tally.add(position, heat, mask)
        for name, draw in ways(detectors["single"]):
            square = to_square(pixels, detectors["single"].describer.canvas, detectors["single"].config.views)
            started = time.perf_counter()
            plane = draw(square).detach()
            tally = tallies.setdefault(name, Tally())
            tally.seconds.append(time.perf_counter() - started)
            shape = (pixels.shape[0], pixels.shape[1])
            part = shown(plane, shape, detectors["single"].config.views).numpy()
            tally.add(position, enlarged(part, shape), mask)
    return [tally.row(name) for name, tally in tallies.items()]


def _fitted(file: Path, preset: str, paths: list[Path]) -> DifferNet:
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        DifferNet(preset, 0).fit(paths, scale_maps=False).save(file)
    return differnet.load(file)


def draw_demo(out: Path) -> None:
    """Draw the same defects of the demo both ways; 1 is the median peak of good tiles that were not fitted to."""
    panels = []
    with tempfile.TemporaryDirectory() as folder:
        for texture in demo.write_demo_data(Path(folder)):
            data = datasets.read(folder, "mvtec", (texture,))[0]
            cells = sorted({demo.cell_of(sample.path) for sample in data.train})
            train, held = (
                [s.path for s in data.train if (demo.cell_of(s.path) in cells[-3:]) == is_held]
                for is_held in (False, True)
            )
            fitted = DifferNet("single", 0, holdout=0.0).fit(train, [demo.cell_of(path) for path in train])
            module, model = fitted.module, fitted.model
            for sample in [s for s in data.test if s.is_defective][2::8]:
                pixels = load(sample.path)
                mask = sample.true_mask(pixels.shape[:2])
                for gradient in ("pixels", "features"):
                    settings = settle(differnet.resolve(fitted.config, {"gradient": gradient}))
                    localizer = Localizer(module, model.fusion, settings, cells=model.cells)
                    loaded = [load(path) for path in (*held[::3], sample.path)]
                    raw = [enlarged(localizer.of_picture(one), one.shape) for one in loaded]
                    scale = np.median([one.max() for one in raw[:-1]])
                    panels.append(plots.Panel(pixels, raw[-1] / scale, mask, f"{texture}: by {gradient}"))
    title = (
        "The same defects by the gradient to the pixels (eq. 7) and by the score shared out among features"
    )
    plots.contact_sheet(out / "localization.png", panels, title, columns=2)


def main() -> None:
    """Measure, draw, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("split", type=Path)
    parser.add_argument("--out", type=Path, default=Path("docs/results"))
    parser.add_argument("--work", type=Path, default=Path("benchmark-output/localization"))
    parser.add_argument("--images", type=int, default=None)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    rows = measure(datasets.read(options.data, "mtd", (), options.split)[0], options.work, options.images)
    draw_demo(options.out)
    text = PAGE.format(rows="\n".join(rows), count=options.images or "all", machine=machine())
    (options.out / "localization.md").write_text(text)
    print(text)


PAGE = """# Localisation: where the gradient goes

`python benchmarks/localization.py MTD_FOLDER SPLIT_FILE`: magnetic tiles, seed 0, {count} of the test tiles, one
upright view. Pixel AUROC and AUPRO (up to 30 % false-positive pixels), over 80 tiles drawn at random that were in view
when the way of drawing and its blur were chosen, and over the others, which chose nothing. Milliseconds for one map,
the decoding left out (`turned`: with it); on a shared machine, so compare orders of magnitude.

| map | AUROC, the 80 | AUPRO, the 80 | AUROC, others | AUPRO, others | ms |
|---|---|---|---|---|---|
{rows}

*Score shared out among features*: with y the pooled features, mu their mean over good images and a_i the weight of
cell i in pooling, dL/dy . (y - mu) = sum of a_i dL/dy . (F_i - mu): each cell of the feature maps gets its part of
what makes the score high. It is the default (`gradient="features"`) where the flow starts as a Gaussian, since only
then it knows mu; `--set gradient=pixels --set blur=4` is the paper's.

Defects of the demo, drawn both ways; 1 is the peak of a typical good tile that the flow has not seen, below which
nothing is drawn:

![maps](localization.png)

{machine}
"""

if __name__ == "__main__":
    main()
