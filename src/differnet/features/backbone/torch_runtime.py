"""What runs the frozen backbone, and the reference: PyTorch on any device."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Literal, Protocol, TypeAlias

import torch
from torch import Tensor

from differnet.config.shape import Shape
from differnet.decision.early_stop import GROUP as GROUP
from differnet.errors import ConfigError
from differnet.features.backbone.network import MultiScale
from differnet.runtime import threads

Precision = Literal["f32", "f16", "bf16", "int8"]
MapsOf: TypeAlias = Callable[[Tensor], list[Tensor]]


class Runtime(Protocol):
    """Anything that turns rendered views into features."""

    name: str
    precision: Precision

    def features(self, groups: Iterable[Tensor]) -> Tensor:
        """Map groups of at most ``GROUP`` views (B, 3, S, T), values 0..255, to features (V, D) on the CPU.

        Groups are taken one by one, so that the next is rendered while the last is described.
        """

    @property
    def on_one_core(self) -> Runtime | None:
        """What gives the same features on one core, also in several threads at a time; nothing where that cannot be."""

    @property
    def feature_maps(self) -> MapsOf | None:
        """What maps views (B, 3, S, T) to :meth:`MultiScale.feature_maps`; nothing where only PyTorch can."""


def check_device(device: str) -> str:
    """Return ``device`` if torch can use it here; raises :class:`ConfigError` if not."""
    threads.use()
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).partition("\n")[0]
        raise ConfigError(f"device = {device!r} cannot be used here ({reason}); 'cpu' always can") from error
    return device


def probe(shape: Shape) -> Tensor:
    """Return one group of fixed noise (B, 3, *shape), values 0..255, to compare runtimes with."""
    return 255 * torch.rand(GROUP, 3, *shape, generator=torch.Generator().manual_seed(0))


def difference(found: Tensor, wanted: Tensor) -> float:
    """Return the largest difference of features as a share of the largest feature."""
    return float((found - wanted).abs().max() / wanted.abs().max().clamp(min=1e-12))


_TURN = threading.RLock()
_LANE = threading.local()


def count_lanes() -> int:
    """Return how many lanes can compute at a time: one a core."""
    return threads.cores()


def lanes(count: int | None = None) -> threads.Lanes:
    """Return threads that each compute on one core, while the thread that waits for them has its turn.

    ``count``: how many, one a core where nothing.
    """
    return threads.Lanes(count_lanes() if count is None else count, _become_lane)


def _become_lane() -> None:
    torch.set_num_threads(1)
    _LANE.is_here = True


def is_in_lane() -> bool:
    """Whether this thread is a lane, which computes on one core."""
    return bool(getattr(_LANE, "is_here", False))


@contextmanager
def in_turn() -> Iterator[None]:
    """Let one thread of the process compute at a time.

    Torch's number of threads is the process's, and a sum split otherwise ends in other last digits: with turns, scores
    do not depend on what other threads do. Decoding goes on meanwhile, and so do the lanes of the thread whose turn it
    is.
    """
    if is_in_lane():
        yield
        return
    with _TURN:
        yield


@contextmanager
def one_torch_thread() -> Iterator[None]:
    """Keep torch to one thread, in turn: its idle ones wait in a loop, on cores that OpenVINO needs."""
    with in_turn():
        before = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(before)


class TorchRuntime:
    """The backbone as PyTorch runs it; in ``"f16"`` matrix products and convolutions are in half precision."""

    name = "torch"
    on_one_core: Runtime | None = None
    feature_maps: MapsOf | None = None

    def __init__(self, module: MultiScale, device: str = "cpu", precision: Precision = "f32") -> None:
        self.module = module.to(device)
        self.device = device
        self.precision = precision

    def features(self, groups: Iterable[Tensor]) -> Tensor:
        """Map groups of views (B, 3, S, T) to features (V, D) on the CPU."""
        kind, is_half = torch.device(self.device).type, self.precision == "f16"
        parts = []
        with in_turn(), torch.inference_mode(), torch.autocast(kind, torch.float16, enabled=is_half):
            for views in groups:
                parts.append(self.module(views.to(self.device, non_blocking=True)).float())
        return torch.cat(parts).cpu()
