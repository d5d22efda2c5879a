"""The flows of a model, learned one after the other from features that are at hand."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from differnet.config.settled import Settled
from differnet.features.backbone.torch_runtime import one_torch_thread
from differnet.features.checkpoint import Checkpoint
from differnet.features.pooling import RowReading
from differnet.flow import gaussian, train
from differnet.flow.flow import Flow
from differnet.flow.fusion import Fusion
from differnet.flow.sources import Parts, Source
from differnet.flow.train import Epoch

Watch = Callable[[Fusion, int, int], None]


@dataclass(frozen=True)
class Learner:
    """How flows are learned, whatever from.

    ``watch`` looks at all of them after every epoch of so many; ``identity`` names the data. ``checkpoint``: where each
    flow that was broken off goes on. ``release`` is called when large tables are no longer needed.
    """

    settings: Settled
    reads: Sequence[RowReading]
    seed: int
    device: str
    identity: str
    on_epoch: train.OnEpoch
    watch: Watch
    checkpoint: Checkpoint | None = None
    release: Callable[[], None] = lambda: None

    def learn(self, sources: Sequence[Source], held: Sequence[Tensor]) -> tuple[Fusion, tuple[Epoch, ...]]:
        """Fit a flow to each of ``sources``; one without blocks is the Gaussian of its rows.

        ``held``: features (V, W) of images whose likelihood is noted on the way.
        """
        fusion = self._started(sources)
        training = self.settings.training
        epochs = [
            train.epochs_to_run(training, source.steps) if flow.learns else 0
            for (flow, _), source in zip(fusion.parts, sources, strict=True)
        ]
        history: list[Epoch] = []
        starts = itertools.accumulate(epochs, initial=0)
        for number, ((flow, read), source, before) in enumerate(
            zip(fusion.parts, sources, starts, strict=False)
        ):
            if not flow.learns:
                continue
            with _few_threads(source, self.device):
                found = train.fit(
                    flow,
                    source,
                    training,
                    held_out=_unseen(held, read),
                    checkpoint=self.checkpoint,
                    identity=f"{self.identity} {number}",
                    on_epoch=self._telling(fusion, before, sum(epochs)),
                    noise_seed=self.seed,
                    number=number,
                )
            history += [replace(epoch, epoch=before + epoch.epoch) for epoch in found]
        fusion.eval().requires_grad_(False)
        return fusion, tuple(history)

    def _started(self, sources: Sequence[Source]) -> Fusion:
        """Return the flows as they start."""
        shapes = zip(self.settings.flows, self.reads, strict=True)
        flows = [Flow(read.features, seed=self.seed, **shape.arguments) for shape, read in shapes]
        for flow, source in zip(flows, sources, strict=True):
            if flow.whitening is not None:
                flow.whitening.set(*gaussian.fit(source.sample(gaussian.MOST_ROWS), self.seed))
                self.release()
        return Fusion(flows, self.reads).to(self.device)

    def _telling(self, fusion: Fusion, before: int, total: int) -> train.OnEpoch:
        def tell(epoch: Epoch, _: int) -> None:
            shifted = replace(epoch, epoch=before + epoch.epoch)
            self.watch(fusion, shifted.epoch + 1, total)
            self.on_epoch(shifted, total)

        return tell


def _unseen(held: Sequence[Tensor], read: RowReading) -> Tensor | None:
    """Return what a flow reads of held-out features, of as many images as come to ``MOST_ROWS`` rows."""
    if not held:
        return None
    each = len(held[0]) * len(read.columns)
    return read.rows(torch.cat(list(held[: max(1, gaussian.MOST_ROWS // each)])))


@contextmanager
def _few_threads(source: Source, device: str) -> Iterator[None]:
    """Keep torch to one thread where batches are small: several of them would wait for each other most of the time."""
    if device == "cpu" and isinstance(source, Parts):
        with one_torch_thread():
            yield
    else:
        yield
