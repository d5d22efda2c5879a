"""What every method of a comparison can do: fit to image files, score one, and for some draw a map of it."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Protocol, TypeVar, runtime_checkable

from differnet.data.stream import Progress, silent
from differnet.decision.verdict import Heat
from differnet.errors import ConfigError, NotFittedError, agreeing, counted

T = TypeVar("T")


class Method(Protocol):
    """A way to learn good images and to score others; its ``repr`` shows all settings that a score depends on."""

    def fit(
        self,
        paths: Sequence[Path],
        seed: int,
        progress: Progress = silent,
        groups: Sequence[Hashable] | None = None,
    ) -> None:
        """Learn from the files of good images; equal files and seeds give equal scores.

        ``groups``: what each image has in common with others (same part, same shoot), for methods that hold images
        out to find something out.
        """

    def score(self, path: Path) -> float:
        """Return how anomalous an image is, higher being more; raises :class:`NotFittedError` before ``fit``."""
        ...


@runtime_checkable
class Localizer(Protocol):
    """A method that says where an image is anomalous, too."""

    def localize(self, path: Path) -> Heat:
        """Return a map (H, W) of the image, values from 0; raises :class:`NotFittedError` before ``fit``."""
        ...


@runtime_checkable
class Remarking(Protocol):
    """A method of which something must be said after a fit: ``remark``, empty where there is nothing."""

    remark: str


def fitted(state: T | None, method: Method) -> T:
    """Return what a fit left behind; raises :class:`NotFittedError` where there was none."""
    if state is None:
        raise NotFittedError(f"{type(method).__name__} has learned nothing yet: call fit(paths, seed) first")
    return state


def check_count(paths: Sequence[Path], least: int, method: Method) -> None:
    """Raise :class:`ConfigError` for fewer than ``least`` images to fit to."""
    if len(paths) < least:
        raise ConfigError(
            f"{type(method).__name__}: {counted(len(paths), 'good image')} to fit to; "
            f"at least {counted(least, 'good image')} {agreeing(least, 'is', 'are')} needed"
        )
