"""How far to train, found out from good images: a flow is tried out on some, and judged by defects drawn into others.

A flow that starts as a Gaussian is a good detector before its first step. Where images are few, or all alike, training
only makes it worse, and the loss on held-out images does not tell. Drawn defects do
(docs/decisions.md has the figures).
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from statistics import NormalDist

import torch
from torch import Tensor

from differnet.config.settled import Settled
from differnet.data.stream import Progress
from differnet.detector.tuning.choice import Choice
from differnet.detector.tuning.evidence import Evidence, wins
from differnet.features.pooling import RowReading
from differnet.flow import gaussian, score, sources, train
from differnet.flow.flow import Flow

_LOOKS = 10  # over the schedule
_CHANCE = 0.05  # of training on although it gains nothing


def with_length(
    found: Choice, evidence: Evidence, settings: Settled, read: RowReading, seed: int, progress: Progress
) -> Choice:
    """Train a flow on the rows of ``evidence`` by the whole schedule and note when it was judged best.

    ``settings`` leave nothing else open, and ``read`` is how they read features. A flow that starts as a Gaussian
    stays one (length 0) unless the gain is significant: one-sided, at 5 %, over the ten looks. The trial is of one
    flow, however many the model will have, and ends as soon as a flow tells all drawn defects: the first of equals is
    taken, so that no later look could change the answer.
    """
    flow = Flow(read.features, seed=seed, **settings.flow.arguments | {"flows": 1})
    training = replace(settings.training, length=1.0)
    source = sources.Bank(evidence.rows.flatten(0, 1), training.batch, seed, read.rows)
    if flow.whitening is not None:
        flow.whitening.set(*gaussian.fit(source.sample(gaussian.MOST_ROWS), seed))
    tests = read.rows(evidence.tests.flatten(0, 2))

    @torch.inference_mode()
    def look() -> Tensor:
        norms = torch.cat([score.latent_norm(flow(part)[0]) for part in tests.split(training.batch)])
        return wins(read.of_view(norms).view(evidence.tests.shape[:3]).mean(dim=2))

    seen = [(0.0, look())]
    first = 0 if flow.whitening is not None else 1  # random weights are no detector
    steps = train.count_steps(training, source.steps)

    def on_epoch(epoch: train.Epoch, total: int) -> None:
        done = epoch.epoch + 1
        if done * _LOOKS // total > (done - 1) * _LOOKS // total:
            seen.append((min(1.0, done * source.steps / steps), look()))
        is_decided = _tells_all(seen[first:])
        progress("finding out how far to train", total if is_decided else done, total)
        if is_decided:
            raise _Decided

    if not _tells_all(seen[first:]):
        with suppress(_Decided):
            train.fit(flow, source, training, on_epoch=on_epoch, noise_seed=seed)
    looks = seen[first:] or seen
    length, best = max(looks, key=lambda one: float(one[1].mean()))  # the first of equals
    gain = best - seen[0][1]
    quantile = -NormalDist().inv_cdf(_CHANCE / _LOOKS)  # Bonferroni's, for the best of the looks
    certain = quantile * standard_error(gain)
    if flow.whitening is not None and float(gain.mean()) <= certain:
        length = 0.0
    return replace(found, length=length, trained=tuple((share, float(look.mean())) for share, look in seen))


class _Decided(Exception):  # noqa: N818 - no error
    """Nothing that is left of a trial could change its answer."""


def _tells_all(looks: list[tuple[float, Tensor]]) -> bool:
    return any(float(look.mean()) == 1 for _, look in looks)


def standard_error(pairs: Tensor) -> float:
    """Return the jackknife's standard error of the mean of ``pairs`` (H, H), leaving out one image at a time.

    Source: Efron and Stein, The jackknife estimate of variance, Annals of Statistics 9, 1981.
    """
    count = len(pairs)
    rest = pairs.sum() - pairs.sum(dim=0) - pairs.sum(dim=1) + pairs.diagonal()
    means = rest / (count - 1) ** 2
    return float(((count - 1) * (means - means.mean()).square().mean()).sqrt())
