"""The flows of a model, learned one after the other from features that are at hand."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, wait
from dataclasses import dataclass, field, replace

from torch import Tensor

from differnet.config.settled import Settled
from differnet.features.backbone.torch_runtime import count_lanes, lanes, one_torch_thread
from differnet.features.checkpoint import Checkpoint
from differnet.features.mapped import let_go
from differnet.features.pooling import RowReading
from differnet.flow import gaussian, neighbours, train
from differnet.flow.flow import Flow
from differnet.flow.fusion import Fusion
from differnet.flow.neighbours import Neighbours
from differnet.flow.sources import Parts, Source
from differnet.flow.train import Epoch

Watch = Callable[[Fusion, int, int], None]


def unwatched(fusion: Fusion, epoch: int, total: int) -> None:
    """Look at nothing."""


@dataclass(frozen=True)
class Learner:
    """How flows are learned, whatever from.

    ``watch`` looks at all of them after every epoch of so many, before any good parts are kept; ``identity`` names the
    data. ``checkpoint``: where each flow that was broken off goes on. ``release`` is called when large tables are no
    longer needed. ``watch`` and ``on_epoch`` are called by one flow at a time, each from the thread in which it learns.
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
    telling: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)

    def learn(self, sources: Sequence[Source], held: Tensor | None) -> tuple[Fusion, tuple[Epoch, ...]]:
        """Fit a flow to each of ``sources``; one without blocks is the Gaussian of its rows. Good parts are kept then.

        ``held``: features (M, V, W) of images whose likelihood is noted on the way.
        """
        fusion = self._started(sources)
        training = self.settings.training
        epochs = [
            train.epochs_to_run(training, source.steps) if flow.learns else 0
            for (flow, _), source in zip(fusion.parts, sources, strict=True)
        ]
        starts = itertools.accumulate(epochs, initial=0)
        lessons = [
            Lesson(self, fusion, number, source, _unseen(held, read), before, sum(epochs))
            for number, ((flow, read), source, before) in enumerate(
                zip(fusion.parts, sources, starts, strict=False)
            )
            if flow.learns
        ]
        history = [epoch for found in self._learned(lessons) for epoch in found]
        fusion.eval().requires_grad_(False)
        return self._with_neighbours(fusion, sources), tuple(history)

    def _with_neighbours(self, fusion: Fusion, sources: Sequence[Source]) -> Fusion:
        """Keep good parts of each flow of parts, where any are asked for."""
        each = enumerate(zip(self.settings.neighbours, fusion.parts, sources, strict=True))
        wanted = {number: (flow, source, most) for number, (most, (flow, _), source) in each if most}
        if not wanted:
            return fusion

        def kept(number: int) -> Neighbours:
            flow, source, most = wanted[number]
            return neighbours.fit(flow, source.sample(gaussian.MOST_ROWS).to(self.device), most, self.seed)

        if self._suits_lanes([source for _, source, _ in wanted.values()]):
            with one_torch_thread(), lanes() as pool:
                found = dict(zip(wanted, pool.map(kept, wanted), strict=True))
        else:
            found = {number: kept(number) for number in wanted}
        self.release()
        return Fusion([flow for flow, _ in fusion.parts], fusion.reads, found)

    def _suits_lanes(self, sources: Sequence[Source]) -> bool:
        """Whether what is learned from each of these is small, and takes one core."""
        return self.device == "cpu" and all(isinstance(source, Parts) for source in sources)

    def _learned(self, lessons: Sequence[Lesson]) -> list[list[Epoch]]:
        """Go through the lessons, two and more at a time where each takes one core and nobody watches all flows."""
        if not self._suits_lanes([lesson.source for lesson in lessons]):
            return [lesson.learned() for lesson in lessons]
        with one_torch_thread():
            if (self.watch is not unwatched and len(lessons) > 1) or count_lanes() == 1:
                return [lesson.learned() for lesson in lessons]
            with lanes() as pool:
                running = [pool.submit(lesson.learned) for lesson in lessons]
                try:
                    wait(running, return_when=FIRST_EXCEPTION)
                    return [one.result() for one in running if one.done()]  # all, or the one that failed
                except BaseException:
                    for lesson in lessons:
                        lesson.is_given_up = True
                    raise

    def _started(self, sources: Sequence[Source]) -> Fusion:
        """Return the flows as they start."""
        shapes = zip(self.settings.flows, self.reads, strict=True)
        flows = [Flow(read.features, seed=self.seed, **shape.arguments) for shape, read in shapes]
        for flow, source in zip(flows, sources, strict=True):
            if flow.whitening is not None:
                flow.whitening.set(*gaussian.fit(source.sample(gaussian.MOST_ROWS), self.seed))
                self.release()
        return Fusion(flows, self.reads).to(self.device)


@dataclass
class Lesson:
    """What one flow learns: from its ``source``, ``unseen`` features aside, after so many epochs ``before`` it of all.

    ``is_given_up`` ends it before the next step.
    """

    learner: Learner
    fusion: Fusion
    number: int
    source: Source
    unseen: Tensor | None
    before: int
    total: int
    is_given_up: bool = False

    def learned(self) -> list[Epoch]:
        """Fit the flow, and return the record of its epochs among those of all."""
        learner = self.learner
        flow, _ = self.fusion.parts[self.number]
        found = train.fit(
            flow,
            self,
            learner.settings.training,
            held_out=self.unseen,
            checkpoint=learner.checkpoint,
            identity=f"{learner.identity} {self.number}",
            on_epoch=self._tell,
            noise_seed=learner.seed,
            number=self.number,
        )
        return [self._among_all(epoch) for epoch in found]

    @property
    def steps(self) -> int:
        """Batches in an epoch of the source."""
        return self.source.steps

    def batches(self, epoch: int) -> Iterator[Tensor]:
        """Yield those of the source until the lesson is given up."""
        for batch in self.source.batches(epoch):
            if self.is_given_up:
                raise GivenUp
            yield batch

    def _tell(self, epoch: Epoch, _: int) -> None:
        among_all = self._among_all(epoch)
        with self.learner.telling:
            self.learner.watch(self.fusion, among_all.epoch + 1, self.total)
            self.learner.on_epoch(among_all, self.total)

    def _among_all(self, epoch: Epoch) -> Epoch:
        return replace(epoch, epoch=self.before + epoch.epoch)


class GivenUp(Exception):  # noqa: N818
    """Another flow could not be learned; nobody sees this."""


def _unseen(held: Tensor | None, read: RowReading) -> Tensor | None:
    """Return what a flow reads of held-out features, of as many images as come to ``MOST_ROWS`` rows."""
    if held is None or len(held) == 0:
        return None
    each = len(held[0]) * len(read.columns)
    found = read.rows(held[: max(1, gaussian.MOST_ROWS // each)].flatten(0, 1))
    let_go()
    return found
