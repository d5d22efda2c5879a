"""The detector: fit on good images, score, predict, localize, save and load."""

from __future__ import annotations

import os
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from differnet.config import presets
from differnet.config.settled import implied, is_open, settle
from differnet.data.images import ImageLike, Pixels, gather, stream
from differnet.data.sisters.find import Grouping
from differnet.data.stream import Progress, Stopwatch, name_of, silent
from differnet.decision import thresholds, verdict
from differnet.decision.calibration import ViewScores
from differnet.decision.drift import DriftMonitor
from differnet.decision.verdict import Heat, Prediction
from differnet.detector import crossfit, fitting, integers, model_file, recalibrate, scoring
from differnet.detector import model as artifact
from differnet.detector import prepare as preparing
from differnet.detector.prepare import Fitted
from differnet.detector.promise.split import check_blind, divide, split
from differnet.detector.scoring import Count, Images, Lit, Mapped, Scorer
from differnet.detector.state import DetectorState
from differnet.detector.tuning.shapes import likely_canvas
from differnet.errors import WeightsError, counted
from differnet.features.checkpoint import opened
from differnet.features.look import Given, Good, expect, looks_of
from differnet.features.sisters import grouping_of
from differnet.features.views import ViewSet, count_views
from differnet.features.white import with_white
from differnet.flow import train

_FOUND_OUT = {"rotation", "read_stages", "pooling", "length", "start"}


class DifferNet(DetectorState):
    """A defect detector that learns from good images alone.

    ``preset``: a name in :data:`differnet.config.presets.PRESETS` or a :class:`~differnet.config.presets.Config`; any
    setting can be replaced by name: ``DifferNet("default", epochs=5)``; ``ignore`` may be an image, white where
    nothing matters. ``seed`` fixes permutations, weights, batches and all views; ``weights``: a file of them, or
    ``"random"``.
    """

    def __repr__(self) -> str:
        c = self.config
        state, views = "not fitted", c.views.score_views
        if isinstance(self._state, Fitted):
            theta = "none" if self.threshold is None else f"{self.threshold:.4g}"
            state = f"fitted on {counted(self.model.train_count, 'good image')}, threshold {theta}"
        if not is_open(c):
            views = count_views(views, settle(c).views)
        return (
            f"DifferNet({c.backbone.backbone} at {'/'.join(map(str, c.backbone.sizes))}, "
            f"{c.flow}, {views} views; {state})"
        )

    @property
    def threshold(self) -> float | None:
        """theta of eq. 6, or nothing when no good images were held out."""
        promise = self.promise
        return None if promise is None else promise.value

    @property
    def promise(self) -> thresholds.Threshold | None:
        """The threshold with the false-alarm rate it promises."""
        return artifact.threshold(self.model)

    def prepare(
        self, images: Good, progress: Progress = silent, groups: Sequence[Hashable] | None = None
    ) -> DifferNet:
        """Find out from good images what the settings leave open, and make ready to describe.

        ``fit`` does so by itself; this is for describing images before, or for many fits on one backbone. Images that a
        fit to the same ones holds out take no part in it.
        """
        items = looks_of(images, self.config)
        asked = with_white(self._asked, items)
        expect(items, likely_canvas(asked, items))
        here = self.config.decision, self.seed, progress
        given = divide(items, groups, *here, is_open=True).fitted if items else Given([], groups)
        ready = preparing.prepare(asked, self.module, given, self.seed, self.device, progress)
        ready = ready.looked_by(given.images)
        ready = replace(ready, described={})  # a fit may be on others
        self._become(replace(self._state, prepared=ready) if isinstance(self._state, Fitted) else ready)
        return self

    def groups(self, images: Good, progress: Progress = silent) -> Grouping:
        """Return which good images belong together, as a fit to them finds it (:mod:`differnet.data.sisters.find`)."""
        looks = looks_of(images, self.config)
        with_white(self._asked, looks)
        return grouping_of(looks, self.seed, progress)

    def fit(
        self,
        images: Good,
        groups: Sequence[Hashable] | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
        progress: Progress = silent,
        on_epoch: train.OnEpoch = lambda epoch, total: None,
        bank: Tensor | None = None,
        scale_maps: bool = True,
        ignore: ImageLike | None = None,
    ) -> DifferNet:
        """Learn from good images and return the detector itself.

        ``images``: a folder, paths, arrays (H, W, 3) or PIL images. A share of them (``holdout``), whole ``groups``
        together, sets the threshold at the false-alarm rate ``rate``, which holds for good parts like these; a warning
        says when they are too few. Groups that are not given are looked for (:mod:`differnet.data.sisters.find`;
        ``sisters="ignore"``: not). With ``folds`` none is kept out (:mod:`differnet.detector.crossfit`).
        ``checkpoint``: a folder from which a broken-off fit goes on. ``bank``: features (N, V, W) of these images,
        described before. ``scale_maps=False`` leaves out the scale of heat maps. ``ignore``: an image, white where
        nothing matters, in the place of the setting. Nothing changes when a fit fails: :class:`ImageError` for an
        unreadable image, :class:`ConfigError` for too few.
        """
        if ignore is not None:
            wanted = images, groups, checkpoint, progress, on_epoch, None, scale_maps
            return self._taking(self._with_mask(ignore, bank).fit(*wanted))
        items, before = looks_of(images, self.config), self._prepared
        split(items, groups, self.config.decision, self.seed)  # refuses at once what cannot be
        asked = self._asked if before else with_white(self._asked, items)
        if bank is not None:
            self._check_bank(bank, len(items))
        watch, is_undecided = Stopwatch(progress), before is None and is_open(asked)
        expect(items, likely_canvas(asked, items))
        fitted, kept, chosen = divide(items, groups, self.config.decision, self.seed, watch, is_undecided)
        if before:
            check_blind(kept.images, before.looked_at)
        rows = bank if bank is None or not kept.images else bank[chosen]
        here = self.seed, self.device, watch
        with opened(None if checkpoint is None else Path(checkpoint), fitted.images) as folder:
            ready = before or preparing.prepare(asked, self.module, fitted, *here, checkpoint=folder)
            watch.note("making ready")
            told = on_epoch, folder, scale_maps
            fitter = fitting.Fitter(ready, self.module, *here, *told, note=watch.note)
            model = replace(crossfit.fit(fitter, fitted, kept, rows), stage_seconds=watch.seconds)
        self._become(Fitted(model, ready.describer, before))
        recalibrate.warn_when_weak(model, is_fitted_now=True)
        return self

    def _check_bank(self, bank: Tensor, count: int) -> None:
        """Refuse features that are not of so many images in the views that are looked at."""
        before = self._prepared
        known = before.settings.config if before else implied(self._asked)
        fitting.check_bank(bank, count, known, bool(before) or preparing.is_ready(known, self.device))

    def score(self, images: Images, progress: Progress = silent, views: Count = None) -> ViewScores:
        """Return tau(x) of eq. 5 for every image, shape (N,); a function of model and image alone.

        ``views``: see :meth:`predict`; any number will do here.
        """
        items, scores = gather(images), []
        for value in self.score_iter(items, views):
            scores.append(value)
            progress("scoring", len(scores), len(items))
        return np.array(scores, dtype=np.float64)

    def score_iter(self, images: Images, views: Count = None) -> Iterator[float]:
        """Yield tau(x) of each image of a stream, in order and in constant memory; it is read ahead."""
        if views == "auto":
            return (prediction.score for prediction in self.predict_iter(images, views=views))
        return (float(row.mean()) for row in self._scorer.rows(stream(images), self._views(views)))

    def predict(self, image: ImageLike, heat_map: bool = False, views: Count = None) -> Prediction:
        """Judge one image, with its heat map on request.

        ``views``: a number scores exactly that many (``None``: ``score_views``), with a threshold from as many views
        of the held-out images; ``"auto"`` stops when the verdict is certain (:mod:`differnet.decision.early_stop`).
        """
        if heat_map:
            return next(self.predict_iter([image], heat_map, views))
        shown, early = self._judged_in(views)
        return self._scorer.prediction(self.model, next(stream([image])), shown, early)

    def predict_iter(
        self, images: Images, heat_map: bool = False, views: Count = None
    ) -> Iterator[Prediction]:
        """Judge the images of a stream, in order and in constant memory; see :meth:`predict`."""
        shown, early = self._judged_in(views)
        draw = self._heat_map if heat_map else None
        return self._scorer.predictions(self.model, images, shown, early, draw)

    def lit_iter(self, images: Images, views: Count = None) -> Iterator[Lit]:
        """Judge the images of a stream as :meth:`predict_iter`, and yield with each the light of its picture."""
        return self._scorer.lit(self.model, images, *self._judged_in(views))

    def mapped_iter(self, images: Images, views: Count = None) -> Iterator[Mapped]:
        """Judge the images of a stream, and yield with each its pixels and its heat map (h, w), not enlarged to them.

        Large pictures take a small part of the memory that :meth:`predict_iter` needs for their maps.
        """
        shown, early = self._judged_in(views)
        return self._scorer.mapped(self.model, images, shown, early, self._heat_map)

    def _judged_in(self, views: Count) -> tuple[ViewSet, bool]:
        """Return the views that images are judged in, and whether to stop early; refuses at once what cannot be."""
        early = views == "auto"
        shown = self._views(None if early else views)
        verdict.threshold_for(self.model, len(shown))
        recalibrate.check_way(self.model, self.describer)
        if early:
            verdict.check_early(self.model)
        return shown, early

    def localize(self, image: ImageLike) -> Heat:
        """Return the heat map (H, W); 1 is the peak of a typical good image (:mod:`differnet.flow.localize`)."""
        return scoring.localize(self.model, self.module, self.describer, image)

    def describe(self, image: ImageLike) -> Tensor:
        """Return the features (V, W) of the scoring views."""
        return self.describer.features(self.describer.square(image), self.scoring_views, name_of(image))

    def view_scores(self, features: Tensor) -> ViewScores:
        """Score each view (V,) of what :meth:`describe` returned; their mean is tau(x)."""
        return self._scorer.of_features(features)

    def judge(self, view_scores: ViewScores, early: bool = False) -> Prediction:
        """Turn the scores of the scoring views into a prediction; ``early`` as ``views="auto"`` would."""
        recalibrate.check_way(self.model, self.describer)
        return verdict.judge(self.model, view_scores, early)

    def calibrate(
        self,
        good: Good,
        rate: float | None = None,
        progress: Progress = silent,
        views: int | None = None,
        confidence: float | None = 0.95,
        review_rate: float | None = None,
        groups: Sequence[Hashable] | None = None,
    ) -> thresholds.Threshold:
        """Set the threshold anew from good images that were not used to fit; returns it with its promise.

        ``rate``, ``confidence``, ``review_rate``: see :class:`differnet.config.sections.Decision`. Without a
        confidence the promise is on average; the others stay if not given, and a ``review_rate`` of 0 goes.
        ``views``: from now on score in so many. ``groups``: of one part or shoot. :class:`ConfigError` for too few;
        then nothing changes.
        """
        asked = recalibrate.changes(rate, views, confidence, review_rate)
        scorer, shown = self._scorer, self._views(views)
        given = Given(looks_of(good, self.config), groups)
        model, promise = recalibrate.anew(self.model, asked, given, scorer, shown, progress)
        before = self._prepared
        self._asked = presets.resolve(self._asked, asked)
        self._become(Fitted(model, self.describer, before.with_changes(asked) if before else None))
        recalibrate.warn_when_weak(model)
        return promise

    def drift_monitor(self, alpha: float = 0.01) -> DriftMonitor:
        """Return what watches a stream for a change against the calibration images
        (:mod:`differnet.decision.drift`).
        """
        recalibrate.check_way(self.model, self.describer)
        return recalibrate.monitor_of(self.model, alpha)

    def quantize(
        self, good: Good, progress: Progress = silent, groups: Sequence[Hashable] | None = None
    ) -> integers.Gate:
        """Change a detector fitted in floats to 8-bit integers, if good images that were not fitted to allow it.

        They give the ranges, pass the gate (:mod:`differnet.detector.integers`), and set the threshold anew, those of
        one of the ``groups`` for one purpose. Returns the figures of the gate; raises :class:`QuantizationError` with
        them when it refuses, and nothing changes.
        """
        given = Given(looks_of(good, self.config), groups)
        model, describer, found = integers.to_integers(
            self.model, self.module, self.describer, given, self.device, progress
        )
        self._asked = model.config
        self._become(Fitted(model, describer))
        recalibrate.warn_when_weak(model)
        return found

    def sibling(self, **settings: Any) -> DifferNet:
        """Return a detector that has learned nothing, with single settings replaced.

        It shares the frozen backbone, already loaded, where the replaced settings allow it.
        """
        base = self._asked if _FOUND_OUT & set(settings) else self.config
        other = DifferNet(base, self.seed, self._weights, self.device, **settings)
        mine, others = self.config.backbone, other.config.backbone
        if others == replace(mine, tiles=others.tiles):
            other.module = self.module
            known = self._known()
            is_same = (others, other.config.views) == (mine, self.config.views)
            if known and is_same and not is_open(other.config):
                choice = known.choice if other.config.reading == self.config.reading else None
                other._state = replace(known, settings=settle(other.config), choice=choice)
        return other

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model file, whole or not at all."""
        model_file.save(Path(path), self.model)

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str],
        weights: str | os.PathLike[str] | None = None,
        device: str = "cpu",
    ) -> DifferNet:
        """Read a model file and check that the backbone weights at hand are those it was fitted with.

        ``weights``: the file of backbone weights, when the model was made with one. A model in 8-bit integers
        brings its network along: the weights are looked for when a heat map is asked for.
        """
        model = model_file.load(Path(path))
        source = weights or (model.backbone_origin if model.backbone_origin == "random" else None)
        detector = cls(model.config, model.seed, source, device)
        model.fusion.to(device)
        detector._state = Fitted(model)
        try:
            if model.graph is None:
                _ = detector.module
        except WeightsError as error:
            raise WeightsError(f"{path}: {error}") from error
        return detector

    @property
    def _scorer(self) -> Scorer:
        return Scorer(self.model.fusion, self.describer, self.device)

    def _heat_map(self, pixels: Pixels, square: Tensor) -> Heat:
        return scoring.heat_map(self.model, self.module, self.describer, pixels, square)
