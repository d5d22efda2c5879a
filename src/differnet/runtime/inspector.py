"""Judge images from the folder of a station, with NumPy, Pillow and ONNX Runtime or OpenVINO alone.

What is computed is that of :class:`differnet.detector.detector.DifferNet`: the picture in its square, the views of
the model, their scores from the graph, and of these the score, p-value and verdict by the very code of the detector.
"""

from __future__ import annotations

import copy
import math
import os
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import replace
from functools import partial
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from differnet.data import square as squares
from differnet.data.images import ImageLike, Pixels, load, stream
from differnet.data.stream import LookAhead, in_lanes
from differnet.decision import fusion, verdict
from differnet.decision.calibration import Standard, ViewScores
from differnet.decision.drift import DriftMonitor
from differnet.decision.early_stop import GROUP, LOOK
from differnet.decision.thresholds import Threshold, check_count
from differnet.decision.verdict import Heat, Prediction
from differnet.errors import ConfigError, ModelFileError, NotFittedError, NumericalError, noting
from differnet.runtime import folder as folders
from differnet.runtime.engines import Engine, open_graph
from differnet.runtime.enlarge import enlarge
from differnet.runtime.threads import Lanes, cores, generation, keep_lost, mind_forks
from differnet.runtime.threads import limit as thread_limit

_SAME_MACHINE = 0.02  # of the largest feature
_ROUNDING = 1e-9  # of a rate that somebody typed
Count = int | Literal["auto"] | None
Numbers = npt.NDArray[np.float32]
Decoded = tuple[Pixels, str | None]  # with what of the image was not looked at


class Inspector:
    """A detector that was exported: ``Inspector("station").predict("part.png")``.

    ``folder``: what ``differnet export`` wrote; ``threads``: how many a graph may use, where nothing what
    :mod:`differnet.runtime.threads` says. One
    object can be used by many threads. Raises :class:`ModelFileError` for a folder that cannot be trusted or
    understood, :class:`MissingExtraError` without the package that runs its graphs, and :class:`NumericalError` when
    they give other features here than where they were made.
    """

    def __init__(self, folder: str | os.PathLike[str], threads: int | None = None) -> None:
        self.folder = os.fspath(folder)
        self.station = folders.read(self.folder)
        self._threads = threads
        mind_forks()
        self._open()
        self._check_machine()

    def _open(self) -> None:
        """Make the graphs ready to run in this process."""
        self._generation, threads = generation(), thread_limit()
        if self._generation == 0 and self._threads is not None:
            threads = self._threads
        self._opened: dict[str, Engine] = {
            role: open_graph(self.station.engine, files, threads)
            for role, files in self.station.graphs.items()
        }

    @property
    def _engines(self) -> dict[str, Engine]:
        """The graphs, opened anew in a process that was forked since."""
        if self._generation != generation():
            keep_lost(self._opened)
            self._open()
        return self._opened

    def __copy__(self) -> Inspector:
        """Return an inspector that shares the graphs."""
        other = object.__new__(type(self))
        vars(other).update(vars(self))
        return other

    def __getstate__(self) -> dict[str, Any]:
        """Return what is pickled and copied: all but the engines, which are opened again."""
        return {name: value for name, value in vars(self).items() if name not in ("_opened", "_generation")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        mind_forks()
        self._open()
        self._check_machine()

    def __repr__(self) -> str:
        theta = "none" if self.threshold is None else f"{self.threshold:.4g}"
        station = self.station
        return (
            f"Inspector({self.folder!r}: {station.engine}, {len(station.views)} views, threshold {theta}, "
            f"{station.digest[:12]})"
        )

    @property
    def standard(self) -> Standard:
        """What scores are judged by."""
        return self.station.standard

    @property
    def promise(self) -> Threshold | None:
        """The threshold with the false-alarm rate it promises."""
        return self.station.standard.threshold()

    @property
    def threshold(self) -> float | None:
        """theta of eq. 6, or nothing when no good images were held out."""
        promise = self.promise
        return None if promise is None else promise.value

    def smallest_rate(self, confidence: float | None = None) -> float | None:
        """Return the smallest false-alarm rate that the calibration images can promise; nothing without any.

        On average over calibration sets 1 / (n + 1), with a confidence c 1 - (1 - c)^(1 / n): the highest of n scores
        is then the threshold (:mod:`differnet.decision.thresholds`).
        """
        n = len(self.standard.view_scores)
        if n == 0:
            return None
        return 1 / (n + 1) if confidence is None else -math.expm1(math.log1p(-confidence) / n)

    def with_rates(
        self, rate: float, confidence: float | None = None, review_rate: float | None = None
    ) -> Inspector:
        """Return an inspector that shares the graphs and judges by other rates.

        Raises :class:`NotFittedError` without calibration images, and :class:`ConfigError` for rates that these cannot
        promise, or that do not fit each other.
        """
        standard, least = self.standard, self.smallest_rate(confidence)
        if least is None:
            raise NotFittedError(
                "the model has no threshold, since no good images were held out: calibrate it first"
            )
        count, wanted = len(standard.view_scores), (rate, confidence, review_rate)
        check_count(count, rate, confidence, standard.folds)
        if review_rate is not None and not rate < review_rate < 1:
            raise ConfigError(f"review_rate = {review_rate:.4g}: more than rate = {rate:.4g} was wanted")
        is_new = wanted != (standard.rate, standard.confidence, standard.review_rate)
        if rate < least * (1 - _ROUNDING) and is_new:
            raise ConfigError(
                f"rate = {rate:.4g}: {count} calibration images can promise {least:.4g} or more; give a higher rate, "
                "or calibrate on more images"
            )
        other = copy.copy(self)
        changed = replace(standard, rate=rate, confidence=confidence, review_rate=review_rate)
        other.station = replace(self.station, standard=changed)
        verdict.review_threshold(other.station)  # refuse at once
        return other

    def predict(self, image: ImageLike, heat_map: bool = False, views: Count = None) -> Prediction:
        """Judge one image (a path, an array (H, W, 3) or a PIL image), with its heat map on request.

        ``views``: a number scores exactly that many (``None``: all of the folder); ``"auto"`` stops as soon as the
        verdict is certain. Raises :class:`ImageError` for what is no image and :class:`ConfigError` for views or maps
        that the folder has not.
        """
        count, early = self._judged_in(views, heat_map)
        return self._judge(image, self._decode(next(stream([image]))), heat_map, count, early)

    def predict_iter(
        self, images: ImageLike | Iterable[ImageLike], heat_map: bool = False, views: Count = None
    ) -> Iterator[Prediction]:
        """Judge the images of a stream, in order and in constant memory; see :meth:`predict`."""
        count, early = self._judged_in(views, heat_map)
        return self._judged(stream(images), heat_map, count, early)

    def _judged_in(self, views: Count, heat_map: bool) -> tuple[int, bool]:
        """Return in how many views images are judged, and whether to stop early; refuses at once what cannot be."""
        early = views == "auto"
        count = self._count(None if views == "auto" else views)
        verdict.threshold_for(self.station, count)
        if early:
            verdict.check_early(self.station)
        if heat_map and self.station.maps is None:
            raise ConfigError(f"{self.folder} has no heat maps: {self.station.no_maps}")
        return count, early

    def view_scores(self, image: ImageLike, views: int | None = None) -> ViewScores:
        """Return the score of each scoring view (V,), or of the first ``views``; their mean is tau(x) of eq. 5."""
        groups = self._groups(self._tiles(load(image, self.station)), self._count(views))
        return np.concatenate(list(groups))

    def localize(self, image: ImageLike) -> Heat:
        """Return the heat map (H, W); 1 is the peak of a typical good image, the same for all."""
        if self.station.maps is None:
            raise ConfigError(f"{self.folder} has no heat maps: {self.station.no_maps}")
        pixels = load(image, self.station)
        return self._heat_map(pixels, self._tiles(pixels))

    def drift_monitor(self, alpha: float = 0.01) -> DriftMonitor:
        """Return what watches a stream for a change against the calibration images
        (:mod:`differnet.decision.drift`).
        """
        found = self.station.drift
        if found is None:
            raise ConfigError(f"{self.folder} does not say how bright and sharp its calibration images were")
        scores = self.station.standard.calibration()
        return DriftMonitor(scores, found.brightness, found.sharpness, alpha, found.seed)

    def _judged(
        self, images: Iterable[ImageLike], heat_map: bool, count: int, early: bool
    ) -> Iterator[Prediction]:
        """Yield what :meth:`_judge` says of each image, of several at a time, one on a core, as they are decoded."""
        lanes = self._threads or cores()
        with (
            closing(LookAhead(self._decode, images, 2 * lanes, lanes)) as ahead,
            Lanes(lanes) as pool,
        ):
            while found := ahead.take(2 * lanes):
                if len(found) == 1 or lanes == 1:
                    yield from (self._judge(*one, heat_map, count, early) for one in found)
                    continue
                work = partial(self._on_one_core._judge, heat_map=heat_map, count=count, early=early)
                yield from (one.result() for one in in_lanes(ahead, found, pool, work, 2 * lanes))

    @property
    def _on_one_core(self) -> Inspector:
        """The same, with graphs that run on one core for each thread."""
        other = copy.copy(self)
        other._opened = {role: engine.on_one_core for role, engine in self._engines.items()}
        return other

    def _decode(self, image: ImageLike) -> Decoded:
        with noting() as notes:
            return load(image, self.station), notes.text

    def _judge(self, _: object, decoded: Decoded, heat_map: bool, count: int, early: bool) -> Prediction:
        pixels, note = decoded
        tiles = self._tiles(pixels)
        groups = self._groups(tiles, count, LOOK if early else GROUP)
        if early:
            found = verdict.as_soon_as_certain(self.station, groups)
        else:
            found = verdict.after_all(self.station, np.concatenate(list(groups)))
        return replace(found, heat_map=self._heat_map(pixels, tiles) if heat_map else None, note=note)

    def _count(self, views: int | None) -> int:
        """Return how many scoring views are meant; raises :class:`ConfigError` for what the folder has not."""
        known, order = len(self.station.views), self.station.standard.order
        if views is None:
            return known
        is_number = isinstance(views, (int, np.integer)) and views >= 1
        if is_number and order == "upright":
            return known
        if not is_number or views > known or (order == "even" and views != known):
            raise ConfigError(f"views = {views!r}: the folder was exported with {known} {order} view(s)")
        return int(views)

    def _tiles(self, pixels: Pixels) -> list[Numbers]:
        """Return the pieces (1, 3, S, T) of a picture, row by row."""
        station, n = self.station, self.station.tiles
        height, width = station.shape
        square = squares.to_square(pixels, (n * height, n * width), station)
        return [
            np.ascontiguousarray(square[None, :, top : top + height, left : left + width])
            for top in range(0, n * height, height)
            for left in range(0, n * width, width)
        ]

    def _groups(self, tiles: list[Numbers], count: int, size: int = GROUP) -> Iterator[ViewScores]:
        """Yield the scores of the first ``count`` views, ``size`` at a time; of tiles the most anomalous counts."""
        starts = range(0, count, size)
        return fusion.view_scores(self._norms(tiles, start, min(start + size, count)) for start in starts)

    def _norms(self, tiles: list[Numbers], start: int, end: int) -> fusion.Norms:
        """Return the norms (T, V, R) of the views from ``start`` to ``end``, by each reading."""
        shown = self.station.views[start:end]
        found = [self._engines["score"].run({"views": self._render(tile, shown)})["norms"] for tile in tiles]
        norms: fusion.Norms = np.stack(found).reshape(len(tiles), len(shown), -1).astype(np.float64)
        if not np.isfinite(norms).all():
            raise NumericalError("the score of a view is not finite")
        return norms

    def _render(self, tile: Numbers, shown: Numbers) -> Numbers:
        if not folders.must_be_rendered(shown, ()):
            return np.repeat(tile, len(shown), axis=0)
        angles, brightness, contrast = shown.T
        inputs = {"square": tile, "angles": angles, "brightness": brightness, "contrast": contrast}
        return self._engines["render"].run({k: np.ascontiguousarray(v) for k, v in inputs.items()})["views"]

    def _heat_map(self, pixels: Pixels, tiles: list[Numbers]) -> Heat:
        settings = self.station.maps
        if settings is None:
            raise ConfigError(f"{self.folder} has no heat maps: {self.station.no_maps}")
        turned = np.array([(angle, 1, 1) for angle in settings.angles], dtype=np.float32)
        parts, which = [], np.eye(len(tiles), dtype=np.float32)
        for tile, this in zip(tiles, which, strict=True):
            inputs = {"views": self._render(tile, turned)}
            if settings.takes_features:
                inputs["features"] = self._engines["score"].run(inputs)["features"]
            if settings.takes_tile:
                inputs["tile"] = this
            parts.append(self._engines["map"].run(inputs)["heat"])
        n = self.station.tiles
        heat = np.block([parts[row : row + n] for row in range(0, n * n, n)])
        if not np.isfinite(heat).all():
            raise NumericalError("a heat map has NaN or infinite values")
        part = squares.shown(heat.astype(np.float32), pixels.shape, self.station)
        drawn: Heat = enlarge(part, pixels.shape[:2]) / np.float32(settings.scale)
        return drawn

    def _check_machine(self) -> None:
        """Refuse to judge where the graph gives other features than where it was made."""
        found = self._engines["score"].run({"views": folders.probe_views(self.station.shape)})
        if set(found) != {"norms", "features"} or found["features"].shape != self.station.probe.shape:
            raise ModelFileError(
                f"{self.folder}: the graph does not give the norms and features of its manifest"
            )
        wanted = self.station.probe
        apart = float(np.abs(found["features"] - wanted).max() / max(float(np.abs(wanted).max()), 1e-12))
        if not apart <= _SAME_MACHINE:
            raise NumericalError(
                f"the graph gives features here that differ by {apart:.1%} from those where it was made; export on "
                "this kind of machine, or in floats"
            )
