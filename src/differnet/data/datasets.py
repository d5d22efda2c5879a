"""Data sets on disk: tell their layout and read it into tables of samples."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from differnet.data import tables
from differnet.data.images import Page, find, pages
from differnet.data.layouts.masks import Sorted, is_mask_file, without_masks
from differnet.data.layouts.published import (
    elpv_folder,
    read_btad,
    read_elpv,
    read_mtd,
    read_mvtec,
    read_mvtec_3d,
    read_mvtec_ad2,
    read_visa,
)
from differnet.data.samples import GOOD, Dataset, Sample, folder_name, listing, seeded_share
from differnet.errors import LayoutError, counted, warn

__all__ = [
    "Dataset",
    "Layout",
    "Sample",
    "find_good",
    "read",
    "read_folder",
    "read_mtd",
    "read_mvtec",
    "read_to_judge",
]

Layout = Literal["auto", "folder", "table", "mvtec", "mvtec-ad2", "mvtec-3d", "btad", "visa", "mtd", "elpv"]
_BY_CATEGORY: dict[Layout, Callable[[Path, Sequence[str]], list[Dataset]]] = {
    "mvtec": read_mvtec,
    "mvtec-ad2": read_mvtec_ad2,
    "mvtec-3d": read_mvtec_3d,
    "btad": read_btad,
    "visa": read_visa,
    "elpv": read_elpv,
}


def read(
    root: str | Path,
    layout: Layout = "auto",
    categories: Sequence[str] = (),
    split_file: str | Path | None = None,
) -> list[Dataset]:
    """Read the data set at ``root``; one table a category.

    ``layout="auto"`` knows a table by its suffix (.csv, .parquet), Magnetic Tile Defects by ``MT_Free``, VisA by
    ``split_csv/1cls.csv``, and by folders here or one folder down BTAD (``train/ok``), MVTec 3D-AD
    (``train/good/rgb``), MVTec AD 2 (``train/good`` beside ``test_public``) and MVTec AD (``train/good``);
    anything else is plain folders. ``elpv``, where no folder has that name, is the installed package of solar
    cells. Raises :class:`LayoutError` with what was expected and what was found.
    """
    place = Path(root)
    known = _recognise(place) if layout == "auto" else layout
    split = None if split_file is None else Path(split_file).name
    found = _read(place, known, categories, split_file)
    return [replace(data, layout=known, split_file=split) for data in found]


def _read(
    place: Path, known: Layout, categories: Sequence[str], split_file: str | Path | None
) -> list[Dataset]:
    if split_file is not None and known != "mtd":
        raise LayoutError(f"{place}: the layout {known!r} takes no split file; it is for mtd")
    if known == "elpv" and str(place) == "elpv":
        return read_elpv(elpv_folder(), categories)
    if known != "table" and not place.is_dir():
        what = "a file of another kind" if place.is_file() else "no such folder"
        raise LayoutError(f"{place}: {what}; a folder, or a table in .csv or .parquet, was wanted")
    if known in _BY_CATEGORY:
        return _BY_CATEGORY[known](place, categories)
    if categories:
        raise LayoutError(f"{place}: the layout {known!r} has no categories, {list(categories)} asked")
    if known == "table":
        return [tables.read_table(place)]
    if known == "mtd":
        return [read_mtd(place, split_file)]
    return [read_folder(place)]


def read_folder(root: Path) -> Dataset:
    """Read plain folders: images in ``good`` (or in no subfolder) are good, other folders name a defect.

    Masks among them (:mod:`differnet.data.layouts.masks`) are no parts, and show the defects of their images. A seeded
    80 % of the good images are for training.
    """
    known = _sorted(root)
    paths = known.images
    good = [path for path in paths if _folder_label(path, root) == GOOD]
    if not good:
        raise LayoutError(
            f"{root}: expected good images in {GOOD}/ or in no subfolder; found {listing(root)}"
        )
    train = seeded_share(good)
    samples = [
        _with_mask(Sample(path, "train" if path in train else "test", _folder_label(path, root)), known)
        for path in paths
    ]
    return Dataset(folder_name(root), tuple(samples))


def _sorted(root: Path) -> Sorted:
    """Find the images below a folder, and which of them are masks."""
    paths = find(root)
    has_good = (root / GOOD).is_dir()
    good = {path for path in paths if has_good and _folder_label(path, root) == GOOD}
    return without_masks(paths, root, good)


def _with_mask(sample: Sample, known: Sorted) -> Sample:
    found = known.masks.get(sample.path) if sample.split == "test" else None
    return sample if found is None else replace(sample, mask=found.path, mask_level=found.level)


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
    if (_recognise(folder) if layout == "auto" else layout) == "folder":
        if categories or split_file is not None:
            raise LayoutError(f"{folder}: plain folders have no categories and take no split file")
        known = (folder / GOOD).is_dir()
        found = _sorted(folder)
        labels = {path: _folder_label(path, folder) if known else GOOD for path in found.images}
        samples = tuple(_with_mask(Sample(path, "test", label), found) for path, label in labels.items())
        return Dataset(folder_name(folder.resolve()), samples), known
    tables = read(root, layout, categories, split_file)
    if len(tables) > 1:
        names = ", ".join(table.name for table in tables)
        raise LayoutError(
            f"{root}: has {len(tables)} categories ({names}); a model is for one: give --category"
        )
    return replace(tables[0], samples=tuple(tables[0].test)), True


def find_good(root: Path, all_pages: bool = False) -> list[Path | Page]:
    """Find the images of a folder of good images alone, to fit on; ``all_pages``: every page of a TIFF.

    Masks beside the images are left out, and said. Raises :class:`LayoutError` for a labelled data set, and where masks
    cannot be told from images of the same name.
    """
    paths = find(root)
    below = {path.name for path in root.iterdir() if path.is_dir()} if root.is_dir() else set()
    labels = below & {GOOD, "train", "test", "ground_truth", "MT_Free", "ko", "split_csv"}
    if labels:
        raise LayoutError(
            f"{root}: good images alone were wanted, but this looks like a labelled data set "
            f"({', '.join(sorted(labels))}); give its folder of good images, or use 'differnet evaluate'"
        )
    paths = without_masks(paths, root).images if root.is_dir() else paths
    _check_twins(root, paths)
    return [page for path in paths for page in (pages(path) if all_pages else [path])]


def _check_twins(root: Path, paths: Sequence[Path]) -> None:
    """Say which images have the same name with several suffixes; refuse those where one may be the other's mask."""
    stems = Counter(path.with_suffix("") for path in paths)
    twins = [path for path in paths if stems[path.with_suffix("")] > 1]
    if not twins:
        return
    count = len({path.with_suffix("") for path in twins})
    said = f"{root}: {counted(count, 'name')} with two suffixes, such as {twins[0].stem!r}"
    if any(map(is_mask_file, twins)):
        raise LayoutError(f"{said}; one of them may be a mask: move the masks out of the folder")
    warn(f"{said}: each file is taken for an image of its own; where they are copies, remove one of them")


def find_defects(root: Path) -> list[Path]:
    """Find the images of a folder of defective parts; masks among them are left out, and said."""
    paths = find(root)
    return without_masks(paths, root).images if root.is_dir() else paths


def _recognise(place: Path) -> Layout:
    if not place.is_dir():
        is_table = place.suffix.lower() in tables.SUFFIXES
        return "table" if is_table else "elpv" if str(place) == "elpv" else "folder"
    if (place / "MT_Free").is_dir():
        return "mtd"
    if (place / "split_csv" / "1cls.csv").is_file():
        return "visa"
    here = _kind(place)
    below = {_kind(path): path.name for path in sorted(place.iterdir()) if path.is_dir()}
    below.pop(None, None)
    if here is None and len(below) > 1:
        seen = ", ".join(f"{kind} in {name}" for kind, name in below.items())
        raise LayoutError(
            f"{place}: looks like several layouts at once ({seen}); name the one that is meant (--layout)"
        )
    return here or next(iter(below), None) or "folder"


def _kind(category: Path) -> Layout | None:
    """Tell the layout of a category by a folder that it has in no other layout."""
    train = category / "train"
    if (train / GOOD / "rgb").is_dir():
        return "mvtec-3d"
    if (train / "ok").is_dir():
        return "btad"
    if (train / GOOD).is_dir():
        return "mvtec-ad2" if (category / "test_public").is_dir() else "mvtec"
    return None


def _folder_label(path: Path, root: Path) -> str:
    parts = path.relative_to(root).parts
    return parts[0] if len(parts) > 1 else GOOD
