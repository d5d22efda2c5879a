"""Which good images are not independent of each other: the groups that a split should keep on one side.

Three things are looked at. *Near-copies*: pictures of one part that share its texture
(:func:`differnet.data.sisters.thumbnails.near_copies`). *Names and times*: stems with counters, folders, bursts
(:mod:`differnet.data.sisters.names`); they are believed where members repeat from group to group, or where images of
one group are more alike than by chance. *Series*: neighbours in the order of names, or of the list, that are more
alike than by chance, as in a video or while a lamp warms up; a series is cut into runs. By chance means: in no more
than one of a million random orders, by the normal law of 200 of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from differnet.data.sisters.names import Partition, in_order, partitions
from differnet.data.sisters.thumbnails import Table, layouts, near_copies, textures
from differnet.errors import counted

FEWEST = 20  # images; of fewer it cannot be told what varies in all of them, and copies alone are found
FEWEST_GROUPS = 8
LARGEST = 0.25  # of all images
_RUNS = 20  # that a series is cut into at least
_SIGMAS = 5.0
_ALIKE = 0.1  # correlation of light within a group, beyond that of any two images
_NEIGHBOURS_ALIKE = 0.25
_TEXTURE_ALIKE = 0.05
_ORDERS = 200


@dataclass(frozen=True)
class Grouping:
    """Which images belong together, and by what.

    ``labels`` (N,): a group for each image. ``by``: what told, in words, empty where every image is by itself.
    ``coarse``: what puts the images into groups that are too few or too large to be held out, and is not used.
    """

    labels: tuple[str, ...]
    by: tuple[str, ...] = ()
    coarse: tuple[str, ...] = ()

    @property
    def groups(self) -> list[str] | None:
        """The group of each image, or nothing where every image is by itself."""
        return list(self.labels) if self.by else None

    @property
    def summary(self) -> Summary:
        """The grouping in figures."""
        sizes = Counter(self.labels)
        together = sum(size for size in sizes.values() if size > 1)
        return Summary(
            len(self.labels), len(sizes), together, max(sizes.values(), default=0), self.by, self.coarse
        )


@dataclass(frozen=True)
class Summary:
    """How many images belong together: ``together`` of ``images`` have a sister, in ``groups`` groups in all.

    ``largest``: how many images the largest group has. ``by``, ``coarse``: see :class:`Grouping`.
    """

    images: int
    groups: int
    together: int
    largest: int
    by: tuple[str, ...] = ()
    coarse: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return JSON types."""
        return asdict(self) | {"by": list(self.by), "coarse": list(self.coarse), "text": str(self)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Summary:
        """Undo :meth:`to_dict`, also after JSON; raises :class:`ValueError` for counts that cannot be."""
        images, groups, together, largest = (
            int(values[name]) for name in ("images", "groups", "together", "largest")
        )
        if not (0 <= together <= images and 0 <= groups <= images and 0 <= largest <= images):
            raise ValueError(f"{together} of {images} images in {groups} groups, the largest of {largest}")
        by, coarse = (tuple(str(one) for one in values[name]) for name in ("by", "coarse"))
        return cls(images, groups, together, largest, by, coarse)

    def __str__(self) -> str:
        said = [f"too few or too large groups to hold out, and not used: {one}" for one in self.coarse]
        if not self.by:
            return "; ".join([f"{counted(self.images, 'image')}, none found to belong together", *said])
        found = (
            f"{self.together} of {counted(self.images, 'image')} belong together with others "
            f"({counted(self.groups, 'group')}, the largest of {self.largest}): {', '.join(self.by)}"
        )
        return "; ".join([found, *said])


def find(
    thumbnails: npt.NDArray[np.uint8],
    digests: Sequence[Hashable],
    paths: Sequence[Path | None],
    seed: int = 0,
) -> Grouping:
    """Group images by thumbnails (N, 64, 64, 3), by the ``digests`` of their pixels, and by their ``paths``, if any.

    Groups are used that leave at least eight, none of more than a quarter of the images; what would not is noted.
    """
    join = _Joined(len(digests))
    first: dict[Hashable, int] = {}
    copies = [(first.setdefault(one, index), index) for index, one in enumerate(digests)]
    join.take("copies, pixel for pixel", [pair for pair in copies if pair[0] != pair[1]], always=True)
    if len(digests) < FEWEST:
        return join.grouping(digests, [])
    join.take("near-copies, by their texture", near_copies(thumbnails))
    alike = _Alike(layouts(thumbnails), seed)
    coarse: list[str] = []
    if not _by_names(paths, alike, thumbnails, seed, join, coarse):
        _by_series(paths, alike, join, coarse)
    return join.grouping(digests, coarse)


def _by_names(
    paths: Sequence[Path | None],
    alike: _Alike,
    thumbnails: npt.NDArray[np.uint8],
    seed: int,
    join: _Joined,
    coarse: list[str],
) -> bool:
    """Join images of one group by name, folder or time; whether there was such a way. Notes what is too ``coarse``."""
    for one in partitions(paths):
        if not one.is_plain and not _is_borne_out(one, alike, thumbnails, seed):
            continue
        by = f"their {one.by}"
        if join.take(by, _links(one.labels)) == "too coarse":
            coarse += [f"{by} ({len(set(one.labels))} groups)"]
        else:
            join.name(one.labels)
            return True
    return False


def _is_borne_out(one: Partition, alike: _Alike, thumbnails: npt.NDArray[np.uint8], seed: int) -> bool:
    """Whether images of one group are more alike than others."""
    if one.of_parts:
        return _Alike(textures(thumbnails), seed).within(one.labels, _TEXTURE_ALIKE)
    return alike.within(one.labels, _ALIKE)


def _by_series(paths: Sequence[Path | None], alike: _Alike, join: _Joined, coarse: list[str]) -> None:
    """Join neighbours in a series, or note that its runs are too ``coarse``."""
    order = in_order(paths)
    length = alike.run_length(order)
    if not length:
        return
    longest = max(2, len(order) // _RUNS)
    told = "their place in a series, of which neighbours look alike"
    labels = [0] * len(order)
    for place, index in enumerate(order):
        labels[index] = place // min(length, longest)
    if join.take(told, _links(labels)) == "too coarse":
        coarse += [told]


def _links(labels: Sequence[Hashable]) -> list[tuple[int, int]]:
    first: dict[Hashable, int] = {}
    return [(first.setdefault(one, index), index) for index, one in enumerate(labels)]


Taken = Literal["joined", "nothing new", "too coarse"]


class _Joined:
    """Images that were joined so far, each step only where the groups stay small and many."""

    def __init__(self, count: int) -> None:
        self._roots = list(range(count))
        self._by: list[str] = []
        self._names: Sequence[str] | None = None

    def take(self, by: str, pairs: Sequence[tuple[int, int]], always: bool = False) -> Taken:
        """Join the images of each pair, if that may be."""
        roots = list(self._roots)
        for one, other in pairs:
            a, b = _root(roots, one), _root(roots, other)
            roots[max(a, b)] = min(a, b)
        sizes = Counter(_root(roots, index) for index in range(len(roots)))
        fits = len(sizes) >= FEWEST_GROUPS and max(sizes.values()) <= LARGEST * len(roots)
        fits |= always and len(sizes) > 1
        if len(sizes) == len(set(self._flat(self._roots))):
            return "nothing new"
        if not fits:
            return "too coarse"
        self._roots = roots
        self._by.append(by)
        return "joined"

    def name(self, labels: Sequence[str]) -> None:
        """Let groups be called by these from now on, so that the same are known again in other images."""
        self._names = labels

    def grouping(self, digests: Sequence[Hashable], coarse: Sequence[str]) -> Grouping:
        """Return the groups: called by their name, or by the first of their images."""
        names = [str(one) for one in (digests if self._names is None else self._names)]
        roots = self._flat(self._roots)
        if self._names is None:
            return Grouping(tuple(names[root] for root in roots), tuple(self._by), tuple(coarse))
        least: dict[int, str] = {}
        for root, name in zip(roots, names, strict=True):
            least[root] = min(least.get(root, name), name)
        return Grouping(tuple(least[root] for root in roots), tuple(self._by), tuple(coarse))

    @staticmethod
    def _flat(roots: list[int]) -> list[int]:
        return [_root(roots, index) for index in range(len(roots))]


def _root(roots: list[int], index: int) -> int:
    while roots[index] != index:
        roots[index] = roots[roots[index]]
        index = roots[index]
    return index


class _Alike:
    """How alike images are by unit vectors (N, D), against the same images in random orders."""

    def __init__(self, rows: Table, seed: int) -> None:
        self._rows = rows.astype(np.float64)
        self._seed = seed

    def within(self, labels: Sequence[Hashable], least: float) -> bool:
        """Whether the mean correlation within groups is above that of all pairs by ``least``, and not by chance."""
        index = {label: number for number, label in enumerate(dict.fromkeys(labels))}
        members = np.array([index[label] for label in labels])
        sizes = np.bincount(members)
        pairs = float((sizes * (sizes - 1)).sum())
        own = float((self._rows**2).sum())
        by_group, starts = np.argsort(members, kind="stable"), np.cumsum(sizes) - sizes

        def mean(order: npt.NDArray[np.intp]) -> float:
            sums = np.add.reduceat(self._rows[order[by_group]], starts)
            return (float((sums**2).sum()) - own) / pairs

        return pairs > 0 and self._stands_out(mean, np.arange(len(labels)), least)

    def run_length(self, order: Sequence[int]) -> int:
        """Return how many neighbours in ``order`` belong together, 0 where neighbours are no more alike than others.

        So many as it takes until the correlation beyond that of all pairs has fallen to half of that of neighbours.
        """
        places = np.array(order)
        if not self._stands_out(lambda way: self._at(way, 1), places, _NEIGHBOURS_ALIKE):
            return 0
        base = self._base()
        half = (self._at(places, 1) - base) / 2
        lag = 1
        while lag < len(places) // 2 and self._at(places, lag) - base >= half:
            lag += 1
        return max(2, lag)

    def _at(self, order: npt.NDArray[np.intp], lag: int) -> float:
        """Return the mean correlation of images that are ``lag`` apart in ``order``."""
        rows = self._rows[order]
        return float(np.einsum("nd,nd->n", rows[:-lag], rows[lag:]).mean())

    def _base(self) -> float:
        total, count = self._rows.sum(axis=0), len(self._rows)
        return float(total @ total - (self._rows**2).sum()) / (count * (count - 1))

    def _stands_out(
        self,
        measure: Callable[[npt.NDArray[np.intp]], float],
        order: npt.NDArray[np.intp],
        least: float,
    ) -> bool:
        found = measure(order)
        if found - self._base() < least:
            return False
        rng = np.random.default_rng(self._seed)
        others = np.array([measure(rng.permutation(len(order))) for _ in range(_ORDERS)])
        return bool(found > others.mean() + _SIGMAS * max(float(others.std()), 1e-9))
