"""Known data-set layouts, each read into one table of samples."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from differnet.errors import LayoutError, MissingExtraError
from differnet.images import SUFFIXES, find, load_mask

Split = Literal["train", "test"]
Layout = Literal["auto", "folder", "mvtec", "mtd", "elpv"]
GOOD = "good"
_MTD_DEFECTS = ("MT_Blowhole", "MT_Break", "MT_Crack", "MT_Fray", "MT_Uneven")
_SPLIT_SEED = 0
_ELPV_CELLS = ("mono", "poly")
_ELPV_SHARE = 0.7


@dataclass(frozen=True)
class Sample:
    """One picture: where it is, what it is for, and what is known about it.

    ``defect`` is ``"good"`` for good images; ``mask`` is the file of the true defect pixels, if any.
    """

    path: Path
    split: Split
    defect: str = GOOD
    mask: Path | None = None

    @property
    def is_defective(self) -> bool:
        """Whether the label is anything but good."""
        return self.defect != GOOD

    def true_mask(self, shape: tuple[int, ...]) -> npt.NDArray[np.bool_]:
        """Return the defect pixels (H, W) of an image of ``shape``: none where there is no mask file.

        Raises :class:`LayoutError` when the mask has another shape than the image.
        """
        if self.mask is None:
            return np.zeros(shape, dtype=bool)
        mask = load_mask(self.mask)
        if mask.shape != shape:
            raise LayoutError(f"{self.mask}: mask of {mask.shape} for an image of {shape} pixels")
        return mask


@dataclass(frozen=True)
class Dataset:
    """A named table of samples; training samples are good by construction."""

    name: str
    samples: tuple[Sample, ...]

    @property
    def train(self) -> list[Sample]:
        """The good images to fit on."""
        return [sample for sample in self.samples if sample.split == "train"]

    @property
    def test(self) -> list[Sample]:
        """The images to judge."""
        return [sample for sample in self.samples if sample.split == "test"]

    def shots(self, count: int, seed: int) -> Dataset:
        """Keep a random ``count`` of the training images; the test images stay."""
        train = self.train
        if not 1 <= count <= len(train):
            raise LayoutError(f"{self.name}: {count} shots asked of {len(train)} training images")
        chosen = np.random.default_rng(seed).choice(len(train), size=count, replace=False)
        kept = [train[index] for index in sorted(chosen)]
        return Dataset(self.name, (*kept, *self.test))

    def __repr__(self) -> str:
        test = self.test
        defective = sum(sample.is_defective for sample in test)
        return (
            f"Dataset({self.name!r}, {len(self.train)} train, "
            f"{len(test) - defective} good and {defective} defective test images)"
        )


def read(
    root: str | Path,
    layout: Layout = "auto",
    categories: Sequence[str] = (),
    split_file: str | Path | None = None,
) -> list[Dataset]:
    """Read the data set at ``root``; one table a category.

    ``layout="auto"`` recognises Magnetic Tile Defects by ``MT_Free``, MVTec by ``train/good`` (here or one
    folder down), and takes anything else as plain folders; ``elpv``, where no folder has that name, is the
    installed package of solar cells. Raises :class:`LayoutError` with what was expected and what was found.
    """
    folder = Path(root)
    if layout == "elpv" or (layout == "auto" and str(root) == "elpv" and not folder.exists()):
        if split_file is not None:
            raise LayoutError("the layout 'elpv' takes no split file; it is for mtd")
        return read_elpv(_elpv_folder() if str(root) == "elpv" else folder, categories)
    if not folder.is_dir():
        raise LayoutError(f"{folder}: no such folder")
    known = _recognise(folder) if layout == "auto" else layout
    if split_file is not None and known != "mtd":
        raise LayoutError(f"{folder}: the layout {known!r} takes no split file; it is for mtd")
    if known == "mvtec":
        return read_mvtec(folder, categories)
    if categories:
        raise LayoutError(f"{folder}: the layout {known!r} has no categories, {list(categories)} asked")
    if known == "mtd":
        return [read_mtd(folder, split_file)]
    return [read_folder(folder)]


def read_mvtec(root: Path, categories: Sequence[str] = ()) -> list[Dataset]:
    """Read ``train/good``, ``test/<defect>`` and ``ground_truth/<defect>/*_mask.png`` (MVTec AD)."""
    here = [root] if (root / "train" / GOOD).is_dir() else []
    below = [path.parent.parent for path in sorted(root.glob(f"*/train/{GOOD}"))]
    available = {path.name: path for path in here or below}
    if not available:
        raise LayoutError(
            f"{root}: expected train/good, test/<defect> and ground_truth/<defect> here or in one folder "
            f"a category; found {_listing(root)}"
        )
    missing = [name for name in categories if name not in available]
    if missing:
        raise LayoutError(f"{root}: no category {missing}; there are {sorted(available)}")
    return [_read_category(available[name]) for name in categories or sorted(available)]


def read_mtd(root: Path, split_file: str | Path | None = None) -> Dataset:
    """Read Magnetic Tile Defects as published: ``MT_*/Imgs/*.jpg`` with masks of the same stem in PNG.

    ``split_file`` lists the names of the good images to train on, one a line (the paper's split); without
    it, a seeded 80 % of them.
    """
    good = sorted((root / "MT_Free" / "Imgs").glob("*.jpg"))
    defective = [path for name in _MTD_DEFECTS for path in sorted((root / name / "Imgs").glob("*.jpg"))]
    if not good or not defective:
        raise LayoutError(
            f"{root}: expected MT_Free/Imgs/*.jpg and {', '.join(_MTD_DEFECTS)} beside it; "
            f"found {_listing(root)}"
        )
    train = _mtd_training_names(good, split_file)
    samples = [Sample(path, "train" if path.name in train else "test") for path in good]
    for path in defective:
        mask = path.with_suffix(".png")
        defect = path.parts[-3].removeprefix("MT_").lower()
        samples.append(Sample(path, "test", defect, mask if mask.is_file() else None))
    return Dataset("magnetic tiles", tuple(samples))


def read_elpv(root: Path, categories: Sequence[str] = ()) -> list[Dataset]:
    """Read solar cells as the package ``elpv-dataset`` holds them: ``labels.csv`` beside ``images``.

    One table for each of mono and poly. Cells of defect probability 0 are good, and a seeded 70 % of them are for
    training; those of probability 1 are defective; the others, of which people were not sure, are left out.
    """
    table = root / "labels.csv"
    if not table.is_file():
        raise LayoutError(f"{root}: expected labels.csv and images/*.png; found {_listing(root)}")
    unknown = [name for name in categories if name not in _ELPV_CELLS]
    if unknown:
        raise LayoutError(f"elpv: no category {unknown}; there are {list(_ELPV_CELLS)}")
    rows = [line.split() for line in table.read_text().splitlines() if line.strip()]
    try:
        cells = [(root / name, float(probability), kind) for name, probability, kind in rows]
    except ValueError as error:
        raise LayoutError(
            f"{table}: expected a path, a probability and a kind in each line ({error})"
        ) from error
    return [_elpv_cells(cells, kind) for kind in categories or _ELPV_CELLS]


def read_folder(root: Path) -> Dataset:
    """Read plain folders: images in ``good`` (or in no subfolder) are good, other folders name a defect.

    A seeded 80 % of the good images are for training.
    """
    samples = []
    paths = find(root)
    good = [path for path in paths if _folder_label(path, root) == GOOD]
    if not good:
        raise LayoutError(
            f"{root}: expected good images in {GOOD}/ or in no subfolder; found {_listing(root)}"
        )
    train = _seeded_share(good)
    for path in paths:
        samples.append(Sample(path, "train" if path in train else "test", _folder_label(path, root)))
    return Dataset(root.name or root.resolve().name, tuple(samples))


def read_to_judge(
    root: str | Path,
    layout: Layout = "auto",
    categories: Sequence[str] = (),
    split_file: str | Path | None = None,
) -> tuple[Dataset, bool]:
    """Read what a fitted model is to judge, and say whether labels are known.

    Of a known data set the test images; of plain folders all images: labelled where there is a folder ``good``, and
    else of unknown label (their ``defect`` says nothing). Raises :class:`LayoutError` for more than one category.
    """
    folder = Path(root)
    plain = layout == "folder" or (layout == "auto" and folder.is_dir() and _recognise(folder) == "folder")
    if plain or folder.is_file():
        if categories or split_file is not None:
            raise LayoutError(f"{folder}: plain folders have no categories and take no split file")
        known = (folder / GOOD).is_dir()
        labels = {path: _folder_label(path, folder) if known else GOOD for path in find(folder)}
        samples = tuple(Sample(path, "test", label) for path, label in labels.items())
        return Dataset(folder.resolve().name, samples), known
    tables = read(root, layout, categories, split_file)
    if len(tables) > 1:
        names = ", ".join(table.name for table in tables)
        raise LayoutError(
            f"{root}: has {len(tables)} categories ({names}); a model is for one: give --category"
        )
    return Dataset(tables[0].name, tuple(tables[0].test)), True


def find_good(root: Path) -> list[Path]:
    """Find the images of a folder of good images alone, to fit on.

    Raises :class:`LayoutError` for a folder that holds more: a labelled data set, or masks beside images.
    """
    paths = find(root)
    below = {path.name for path in root.iterdir() if path.is_dir()} if root.is_dir() else set()
    labels = below & {GOOD, "train", "test", "ground_truth", "MT_Free"}
    if labels:
        raise LayoutError(
            f"{root}: good images alone were wanted, but this looks like a labelled data set "
            f"({', '.join(sorted(labels))}); give its folder of good images, or use 'differnet evaluate'"
        )
    stems = Counter(path.with_suffix("") for path in paths)
    twice = [stem for stem, count in stems.items() if count > 1]
    if twice:
        raise LayoutError(
            f"{root}: {len(twice)} images have the same name with two suffixes, such as {twice[0].name!r}; "
            "if one of them is a mask, move the masks out of the folder"
        )
    return paths


def _recognise(root: Path) -> Layout:
    if (root / "MT_Free").is_dir():
        return "mtd"
    if (root / "train" / GOOD).is_dir() or any(root.glob(f"*/train/{GOOD}")):
        return "mvtec"
    return "folder"


def _read_category(root: Path) -> Dataset:
    samples = [Sample(path, "train") for path in find(root / "train" / GOOD)]
    if not (root / "test").is_dir():
        raise LayoutError(f"{root}: expected test/<defect> beside train; found {_listing(root)}")
    for folder in sorted(path for path in (root / "test").iterdir() if path.is_dir()):
        for path in find(folder):
            mask = root / "ground_truth" / folder.name / f"{path.stem}_mask.png"
            samples.append(Sample(path, "test", folder.name, mask if mask.is_file() else None))
    return Dataset(root.name or root.resolve().name, tuple(samples))


def _elpv_folder() -> Path:
    """Find the installed package, without importing it."""
    found = find_spec("elpv_dataset")
    if found is None or not found.submodule_search_locations:
        raise MissingExtraError(
            "the data set elpv needs its package (CC BY-NC-SA, 90 MB): pip install 'differnet[elpv]'"
        )
    return Path(next(iter(found.submodule_search_locations)), "data")


def _elpv_cells(cells: list[tuple[Path, float, str]], wanted: str) -> Dataset:
    good = [path for path, probability, kind in cells if kind == wanted and probability == 0]
    train = _seeded_share(good, _ELPV_SHARE)
    samples = [Sample(path, "train" if path in train else "test") for path in good]
    for path, probability, kind in cells:
        if kind == wanted and probability == 1:
            samples.append(Sample(path, "test", "defective"))
    return Dataset(f"elpv {wanted}", tuple(samples))


def _mtd_training_names(good: list[Path], split_file: str | Path | None) -> set[str]:
    if split_file is None:
        return {path.name for path in _seeded_share(good)}
    path = Path(split_file)
    if not path.is_file():
        raise LayoutError(f"{path}: no such split file; one file name a line was wanted")
    names = {Path(line.strip()).name for line in path.read_text().splitlines() if line.strip()}
    unknown = sorted(names - {image.name for image in good})
    if unknown:
        raise LayoutError(f"{path}: {len(unknown)} names are not good images here, such as {unknown[0]!r}")
    if not names:
        raise LayoutError(f"{path}: names no image")
    return names


def _seeded_share(paths: list[Path], share: float = 0.8) -> set[Path]:
    count = min(max(1, round(share * len(paths))), len(paths))
    order = np.random.default_rng(_SPLIT_SEED).permutation(len(paths))
    return {paths[index] for index in order[:count]}


def _folder_label(path: Path, root: Path) -> str:
    parts = path.relative_to(root).parts
    return parts[0] if len(parts) > 1 else GOOD


def _listing(root: Path, most: int = 8) -> str:
    entries = sorted(path.name for path in root.iterdir())
    kinds = Counter(Path(name).suffix.lower() for name in entries)
    images = sum(kinds[suffix] for suffix in SUFFIXES)
    shown = ", ".join(entries[:most]) + (", ..." if len(entries) > most else "")
    return f"{len(entries)} entries ({images} images): {shown}" if entries else "an empty folder"
