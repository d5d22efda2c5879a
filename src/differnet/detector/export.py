"""From a detector to the folder of a station (:mod:`differnet.runtime`), which is kept only if it judges the same.

The folder is made beside its place, run by the station's own code against the detector, and renamed when scores and
verdicts agree; else nothing is left of it.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from differnet.config.shape import Shape
from differnet.data.files import write_whole
from differnet.data.images import ImageLike, load
from differnet.data.stream import Progress, silent
from differnet.decision import verdict
from differnet.decision.calibration import Calibrated, ViewScores
from differnet.detector.detector import DifferNet
from differnet.detector.graphs import Format, write_graphs
from differnet.detector.model import summarise, versions
from differnet.errors import ConfigError, ExportError
from differnet.features.views import even_views
from differnet.runtime import folder as folders
from differnet.runtime import good_part
from differnet.runtime.engines import EngineName
from differnet.runtime.inspector import Inspector

ENGINES: Mapping[Format, EngineName] = {"onnx": "onnxruntime", "openvino": "openvino"}
SCORE_BOUND = 1e-3  # of a score
TIE = 1e-5  # of a score: what rounding moves
MAP_BOUND = 1e-2  # of the peak of a map
_MAPS = 3  # images whose maps are compared
_SYNTHETIC = 8


@dataclass(frozen=True)
class Agreement:
    """How far the folder is from the detector.

    ``images`` were judged by both, ``synthetic`` ones where no others were given. ``score``: the largest relative
    difference of a score; ``heat_map``: the largest difference of heat, in units of its peak, nothing without maps.
    ``verdicts``: how many differed, after all views and, where there are several, stopping early; ``ties``: how many
    more did because of rounding: scores lie at a threshold, as those of a held-out image do which set it, or at a bound
    of early stopping.
    """

    images: int
    synthetic: bool
    score: float
    heat_map: float | None
    verdicts: int
    ties: int = 0

    @property
    def is_close(self) -> bool:
        """Whether the folder may take the place of the detector."""
        return (
            self.score <= SCORE_BOUND
            and self.verdicts == 0
            and (self.heat_map is None or self.heat_map <= MAP_BOUND)
        )

    def __str__(self) -> str:
        kind = "synthetic " if self.synthetic else ""
        ties = (
            f", beside {self.ties} of scores at a threshold or a bound of early stopping" if self.ties else ""
        )
        maps = (
            "" if self.heat_map is None else f", heat maps by {self.heat_map:.1e} (at most {MAP_BOUND:.0e})"
        )
        return (
            f"on {self.images} {kind}images scores differ by at most {self.score:.1e} of themselves (at most "
            f"{SCORE_BOUND:.0e} is let pass){maps}, and {self.verdicts} verdicts differ{ties}"
        )


def export(
    detector: DifferNet,
    target: str | os.PathLike[str],
    form: Format = "onnx",
    int8: bool = False,
    images: Sequence[ImageLike] = (),
    progress: Progress = silent,
) -> Agreement:
    """Write the folder ``target``, whole or not at all, and return how well it agrees with the detector.

    ``form``: what its graphs are; ``int8``: take the model's own network in 8-bit integers. ``images``: what is judged
    by both; without any, synthetic ones are, which show less. Of given ones the "OK" one of the lowest score is kept in
    the folder as a typical good part to look at. Raises :class:`ExportError` with the figures when they do not agree,
    :class:`ConfigError` for a model that computes in other numbers than asked for and for a folder that has something
    in it already, and :class:`MissingExtraError` for a format that cannot be written or run here.
    """
    check_precision(detector, form, int8)
    place = Path(target)
    if place.exists() and (not place.is_dir() or any(place.iterdir())):
        raise ConfigError(f"{place} is there already: give a folder that does not exist yet, or an empty one")
    with _appearing(place) as temporary:
        about = _write(detector, temporary, form, progress)
        inspector = Inspector(temporary)
        good = _Good()
        found = compare(detector, inspector, images, progress, good.see)
        if not found.is_close:
            raise ExportError(
                f"the graphs do not judge as the detector does: {found}; nothing was written to {place}"
            )
        good.save(temporary, inspector)
        version = folders.WITHOUT_GOOD if good.image is None else folders.FORMAT
        _write_manifest(temporary, {**about, "format": version, "agreement": asdict(found)})
    return found


class _Good:
    """Chooses the typical good part of a folder: of the images that both judge, the "OK" one of the lowest score."""

    def __init__(self) -> None:
        self.image: ImageLike | None = None
        self._score = math.inf

    def see(self, image: ImageLike, found: verdict.Prediction) -> None:
        """Look at one."""
        if found.verdict == "OK" and found.score < self._score:
            self.image, self._score = image, found.score

    def save(self, folder: Path, inspector: Inspector) -> None:
        """Write it as PNG, so small that a page shows it at once; nothing where no image was "OK"."""
        if self.image is None:
            return
        (folder / good_part.NAME).write_bytes(good_part.drawn(load(self.image, inspector.station)))


def format_of(name: str) -> Format:
    """Return the format of a name; raises :class:`ConfigError` for another."""
    for form in ENGINES:
        if form == name:
            return form
    raise ConfigError(f"--format {name!r} is not one of {', '.join(ENGINES)}")


def check_precision(detector: DifferNet, form: Format, int8: bool) -> None:
    """Refuse numbers that the model was not fitted in: its flow knows no other features."""
    precision = detector.model.precision
    if detector.device != "cpu":
        raise ConfigError(
            f"device = {detector.device!r}: a station runs on the CPU; load the model there to export it"
        )
    if int8 and precision != "int8":
        raise ConfigError(
            f"--int8: the model computes in {precision} and has no 8-bit network; fit it with precision = 'int8', or "
            "change it with 'differnet quantize' first"
        )
    if int8 and form != "openvino":
        raise ConfigError("--int8: the model's 8-bit network is an OpenVINO graph; give --format openvino")
    if precision == "int8" and not int8:
        raise ConfigError(
            "the model computes in 8-bit integers, and its flow knows no other features; give --int8 and --format "
            "openvino"
        )
    if precision in ("f16", "bf16"):
        raise ConfigError(
            f"the model computes in {precision}; a station runs in f32 or int8: fit it in one of these"
        )


def compare(
    detector: DifferNet,
    inspector: Inspector,
    images: Sequence[ImageLike],
    progress: Progress = silent,
    see: Callable[[ImageLike, verdict.Prediction], None] | None = None,
) -> Agreement:
    """Judge ``images``, or synthetic ones where there are none, by both; ``see``: what the detector says of each."""
    shown = list(images) or synthetic_images(detector.describer.canvas)
    model = detector.model
    early = len(model.view_scores) > 0 and 1 < model.usual_views == model.view_scores.shape[1]
    with_maps, largest, heat = inspector.station.maps is not None, 0.0, 0.0
    others = ties = 0
    for index, image in enumerate(shown):
        wanted = detector.view_scores(detector.describe(image))
        found = inspector.view_scores(image)
        largest = max(largest, abs(found.mean() / max(wanted.mean(), 1e-12) - 1))
        for stops in (False, True) if early else (False,):
            ours = verdict.judge(model, wanted, stops)
            said = verdict.judge(inspector.station, found, stops).verdict
            if said != ours.verdict:
                is_tie = said in _verdicts_nearby(model, wanted, stops)
                ties, others = ties + is_tie, others + (not is_tie)
            if see is not None and images and not stops:
                see(image, ours)
        if with_maps and index < _MAPS:
            ours_map, theirs = detector.localize(image), inspector.localize(image)
            heat = max(heat, float(np.abs(theirs - ours_map).max() / max(float(ours_map.max()), 1e-6)))
        progress("comparing", index + 1, len(shown))
    return Agreement(len(shown), not images, float(largest), heat if with_maps else None, others, ties)


def _verdicts_nearby(model: Calibrated, scores: ViewScores, early: bool) -> set[verdict.Verdict | None]:
    """Return what is said of these scores (V,), and of them when all are larger, or smaller, by what rounding moves."""
    return {verdict.judge(model, scores * by, early).verdict for by in (1 - TIE, 1, 1 + TIE)}


def synthetic_images(canvas: Shape) -> list[ImageLike]:
    """Return pictures of coloured clouds and noise, grey ones among them, of several shapes."""
    draws = np.random.default_rng(0)
    found: list[ImageLike] = []
    for index in range(_SYNTHETIC):
        width, height = (
            int(side * factor) for side, factor in zip(canvas[::-1], draws.uniform(0.5, 1.5, 2), strict=True)
        )
        coarse = draws.integers(0, 256, (4 + index, 5 + index, 3), dtype=np.uint8)
        clouds = np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))
        noisy = np.clip(clouds + draws.normal(0, 8, clouds.shape), 0, 255).astype(np.uint8)
        found.append(np.repeat(noisy[..., :1], 3, axis=2) if index % 2 else noisy)
    return found


def _write(detector: DifferNet, folder: Path, form: Format, progress: Progress) -> dict[str, Any]:
    """Write graphs, calibration and manifest; returns the manifest, without the files."""
    model, shown = detector.model, detector.scoring_views
    maps, no_maps = _map_settings(detector)
    views = torch.stack(tuple(shown), dim=1).numpy()
    render = folders.must_be_rendered(views, maps["angles"] if maps else ())
    progress("writing graphs", 0, 1)
    write_graphs(detector, folder, form, maps, render)
    progress("writing graphs", 1, 1)
    standard, record = model.standard, model.calibrated_on
    drift = None
    if record is not None:
        drift = {"brightness": record.brightness, "sharpness": record.sharpness, "seed": model.seed}
    noise = torch.from_numpy(folders.probe_views(detector.describer.shape))
    calibration = {
        "view_scores": standard.view_scores.tolist(),
        "drift": drift,
        "probe": detector.describer.runtime.features([noise])[0].tolist(),
    }
    (folder / folders.CALIBRATION).write_text(json.dumps(calibration, allow_nan=False), encoding="utf-8")
    settings = detector.settings.views
    about = {
        "kind": folders.KIND,
        "format": folders.WITHOUT_GOOD,
        "engine": ENGINES[form],
        "precision": model.precision,
        "square": {
            **folders.shape_entry(detector.describer.shape),
            "tiles": detector.describer.tiles,
            "frame": settings.frame,
            "resampling": settings.resampling,
            "white": settings.white,
            "beyond": settings.beyond,
            "ignore": settings.ignore,
        },
        "views": views.tolist(),
        "decision": {
            name: getattr(standard, name) for name in ("order", "rate", "confidence", "review_rate", "folds")
        },
        "maps": maps,
        "no_maps": no_maps,
        "model": summarise(model),
        "versions": versions(),
    }
    _write_manifest(folder, about)
    return about


def _map_settings(detector: DifferNet) -> tuple[dict[str, Any] | None, str]:
    """Return what the manifest says of heat maps, and why there are none."""
    settings, model = detector.settings, detector.model
    if settings.maps.gradient != "features":
        return None, (
            "its maps are gradients to the pixels (eq. 7), which a graph does not compute; a flow that starts as a "
            "Gaussian and gradient = 'features' give maps that it does"
        )
    angles = even_views(settings.maps.map_views, settings.views).angles.tolist()
    return {
        "angles": angles,
        "scale": model.map_scale,
        "takes_features": model.graph is not None,
        "takes_tile": model.cells is not None and settings.backbone.tiles > 1,
    }, ""


def _write_manifest(folder: Path, about: Mapping[str, Any]) -> None:
    names = [path.name for path in folder.iterdir() if path.name != folders.MANIFEST]
    files = folders.describe_files({name: (folder / name).read_bytes() for name in names})
    text = json.dumps({**about, "files": files}, allow_nan=False, indent=1)
    write_whole(folder / folders.MANIFEST, text.encode())


@contextmanager
def _appearing(target: Path) -> Iterator[Path]:
    """Make a folder beside ``target`` that takes its place when the block ends well, and is gone when it does not."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{target.name[:50]}.", dir=target.parent))
    except OSError as error:
        raise OSError(error.errno, f"cannot write {target}: {error.strerror}") from error
    try:
        yield temporary
        for path in temporary.iterdir():
            with path.open("rb+") as file:
                os.fsync(file.fileno())
        temporary.chmod(0o755)
        if target.exists():
            target.rmdir()  # which is empty
        temporary.rename(target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
