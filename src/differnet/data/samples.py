"""The table of samples that every layout is read into: which pictures, what for, and what is known of them."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from differnet.data.decoding import file_digest
from differnet.data.images import SUFFIXES, load, load_mask
from differnet.errors import LayoutError, agreeing, counted, warn

Split = Literal["train", "test"]
GOOD = "good"
_SPLIT_SEED = 0
_MOST_DEFECT = 0.5  # of a picture; more is mostly an inverted mask


@dataclass(frozen=True)
class Sample:
    """One picture: where it is, what it is for, and what is known about it.

    ``defect`` is ``"good"`` for good images; ``mask`` is the file of the true defect pixels, if any, and
    ``mask_level`` the brightness from which on a pixel of it counts; ``group`` names what pictures of the same
    part or the same shoot have in common.
    """

    path: Path
    split: Split
    defect: str = GOOD
    mask: Path | None = None
    mask_level: int = 128
    group: str | None = None

    @property
    def is_defective(self) -> bool:
        """Whether the label is anything but good."""
        return self.defect != GOOD

    def true_mask(self, shape: tuple[int, ...]) -> npt.NDArray[np.bool_]:
        """Return the defect pixels (H, W) of an image of ``shape``: none where there is no mask file.

        A mask that is black all over says that no pixel was marked; published data have such masks.
        Raises :class:`LayoutError` when the mask has another shape than the image, and when that of a defective image
        is not black but nowhere as bright as ``mask_level``: it was written on another scale, such as 0 and 1.
        """
        if self.mask is None:
            return np.zeros(shape, dtype=bool)
        mask = load_mask(self.mask, self.mask_level)
        if mask.shape != shape:
            raise LayoutError(f"{self.mask}: mask of {mask.shape} for an image of {shape} pixels")
        brightest = 0 if mask.any() or not self.is_defective else int(load(self.mask).max())
        if brightest:
            raise LayoutError(
                f"{self.mask}: no pixel of the mask is as bright as {self.mask_level} of 255, the brightest is "
                f"{brightest}; defects were wanted in white (255) on black"
            )
        return mask


@dataclass(frozen=True)
class Dataset:
    """A named table of samples; training samples are good by construction.

    ``name`` also names a folder where results of several are written, so :class:`LayoutError` is raised for one that
    is a path. ``layout``: which published layout it was read as; ``split_file``: the name of the file that said which
    images are for training. Published figures are put beside own ones by these two.
    """

    name: str
    samples: tuple[Sample, ...]
    layout: str = ""
    split_file: str | None = None

    def __post_init__(self) -> None:
        if self.name in ("", ".", "..") or any(sign in self.name for sign in ("/", "\\", "\0")):
            raise LayoutError(f"{self.name!r}: not a name for a data set; one without / and \\ was wanted")

    @property
    def train(self) -> list[Sample]:
        """The good images to fit on."""
        return [sample for sample in self.samples if sample.split == "train"]

    @property
    def test(self) -> list[Sample]:
        """The images to judge."""
        return [sample for sample in self.samples if sample.split == "test"]

    @property
    def groups(self) -> list[str] | None:
        """The group of each training image, one without is by itself; nothing where no image has a group."""
        train = self.train
        if all(sample.group is None for sample in train):
            return None
        return [str(sample.path) if sample.group is None else sample.group for sample in train]

    def shots(self, count: int, seed: int) -> Dataset:
        """Keep a random ``count`` of the training images; the test images stay."""
        train = self.train
        if not 1 <= count <= len(train):
            raise LayoutError(f"{self.name}: {count} shots asked of {len(train)} training images")
        chosen = np.random.default_rng(seed).choice(len(train), size=count, replace=False)
        kept = [train[index] for index in sorted(chosen)]
        return replace(self, samples=(*kept, *self.test))

    def digest(self, on_file: Callable[[int, int], None] = lambda done, total: None) -> str:
        """Return the SHA-256 of the files of all images and masks, with what each is for; ``on_file`` counts them.

        Raises :class:`ImageError` for what is no regular file.
        """
        total = hashlib.sha256()
        for index, sample in enumerate(self.samples, 1):
            group = "" if sample.group is None else f" {sample.group!r}"
            line = f"{sample.path.name} {sample.split} {sample.defect} {sample.mask_level}{group}\n"
            total.update(line.encode("utf-8", "surrogateescape"))
            for path in (sample.path, sample.mask):
                total.update(b"none" if path is None else file_digest(path))
            on_file(index, len(self.samples))
        return total.hexdigest()

    def __repr__(self) -> str:
        test = self.test
        defective = sum(sample.is_defective for sample in test)
        return (
            f"Dataset({self.name!r}, {len(self.train)} train, "
            f"{len(test) - defective} good and {defective} defective test images)"
        )


def check_masks(samples: Sequence[Sample]) -> None:
    """Raise :class:`LayoutError` for the first mask that does not fit its image, before anything is computed.

    Warns of masks that are white over more than half of the picture, as those are that were inverted.
    """
    masked = [sample for sample in samples if sample.mask is not None]
    wide = [
        sample for sample in masked if sample.true_mask(load(sample.path).shape[:2]).mean() > _MOST_DEFECT
    ]
    if wide:
        verb = agreeing(len(wide), "is", "are")
        warn(
            f"{len(wide)} of {counted(len(masked), 'mask')} {verb} white over more than half of the picture, such as "
            f"{wide[0].mask}: defects are white on black; if the masks are inverted, figures of pixels mean nothing"
        )


def folder_name(folder: Path) -> str:
    """Return the name of a folder, of ``.`` and ``..`` too."""
    return folder.name if folder.name not in ("", "..") else folder.resolve().name or "data"


def seeded_share(paths: list[Path], share: float = 0.8) -> set[Path]:
    """Draw a share of the good images, the same each time, to train on where no split is published."""
    count = min(max(1, round(share * len(paths))), len(paths))
    order = np.random.default_rng(_SPLIT_SEED).permutation(len(paths))
    return {paths[index] for index in order[:count]}


def listing(root: Path, most: int = 8) -> str:
    """Say what a folder holds, for errors: how many entries, and the first few of them."""
    entries = sorted(path.name for path in root.iterdir())
    kinds = Counter(Path(name).suffix.lower() for name in entries)
    images = sum(kinds[suffix] for suffix in SUFFIXES)
    shown = ", ".join(entries[:most]) + (", ..." if len(entries) > most else "")
    return f"{len(entries)} entries ({images} images): {shown}" if entries else "an empty folder"
