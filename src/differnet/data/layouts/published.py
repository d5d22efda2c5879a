"""Published data sets, each read from the folders it comes in into one table of samples a category.

All raise :class:`LayoutError` that shows the layout that was expected and what was found.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

from differnet.data.files import read_text
from differnet.data.images import find, is_image_name
from differnet.data.layouts.masks import own_stem
from differnet.data.samples import GOOD, Dataset, Sample, folder_name, listing, seeded_share
from differnet.data.tables import TableRow, read_rows, samples_of
from differnet.errors import LayoutError, MissingExtraError, agreeing, counted, warn

_MVTEC = "train/good, test/<defect> and ground_truth/<defect>/*_mask.png"
_MVTEC_AD2 = "train/good, validation/good, test_public/good, test_public/bad and test_public/ground_truth/bad"
_MVTEC_3D = "train/good/rgb, validation/good/rgb, test/<defect>/rgb and test/<defect>/gt"
_BTAD = "train/ok, test/ok, test/ko and ground_truth/ko"
_VISA = ("object", "split", "label", "image", "mask")
_NOT_ZERO = 1  # VisA's masks hold the number of the defect; other lossless ones may hold 1 instead of 255
_MTD_DEFECTS = ("MT_Blowhole", "MT_Break", "MT_Crack", "MT_Fray", "MT_Uneven")
_ELPV_CELLS = ("mono", "poly")
_ELPV_SHARE = 0.7


def read_mvtec(root: Path, categories: Sequence[str] = ()) -> list[Dataset]:
    """Read MVTec AD: ``train/good``, ``test/<defect>`` and ``ground_truth/<defect>/*_mask.png``."""
    known = ("train/good",), "test", "ground_truth"
    return [_of_mvtec(one, *known, _MVTEC) for one in _categories(root, "train/good", categories, _MVTEC)]


def read_mvtec_ad2(root: Path, categories: Sequence[str] = ()) -> list[Dataset]:
    """Read MVTec AD 2: ``train/good``, ``validation/good``, and ``test_public`` with its ``ground_truth``.

    The good images for validation count as images to train on: what is held out, if anything, is drawn from all.
    ``test_private`` and ``test_private_mixed`` come without labels and are left out.
    """
    known = ("train/good", "validation/good"), "test_public", "test_public/ground_truth"
    return [
        _of_mvtec(one, *known, _MVTEC_AD2) for one in _categories(root, "test_public", categories, _MVTEC_AD2)
    ]


def _of_mvtec(category: Path, training: Sequence[str], tests: str, masks: str, wanted: str) -> Dataset:
    samples = *_training(category, training, wanted), *_mvtec_tests(category, tests, masks, wanted)
    return Dataset(folder_name(category), samples)


def read_mvtec_3d(root: Path, categories: Sequence[str] = ()) -> list[Dataset]:
    """Read the colour images of MVTec 3D-AD, and not its point clouds: ``rgb`` with masks of the same name in ``gt``.

    The good images for validation count as images to train on: what is held out, if anything, is drawn from all.
    """
    datasets = []
    for category in _categories(root, f"train/{GOOD}/rgb", categories, _MVTEC_3D):
        samples = _training(category, ("train/good/rgb", "validation/good/rgb"), _MVTEC_3D)
        for folder in _folders(category, "test", _MVTEC_3D):
            for path in _images(category, f"test/{folder.name}/rgb", _MVTEC_3D):
                mask = folder / "gt" / f"{path.stem}.png"
                is_masked = folder.name != GOOD and mask.is_file()
                samples.append(Sample(path, "test", folder.name, mask if is_masked else None, _NOT_ZERO))
        _warn_without_masks(category, samples, _MVTEC_3D)
        datasets.append(Dataset(folder_name(category), tuple(samples)))
    return datasets


def read_btad(root: Path, categories: Sequence[str] = ()) -> list[Dataset]:
    """Read BTAD: ``train/ok``, ``test/ok``, ``test/ko``, and masks of the same stem in ``ground_truth/ko``.

    A mask may have another suffix than its image (PNG for BMP); of two for one image the last by name counts.
    """
    datasets = []
    for category in _categories(root, "train/ok", categories, _BTAD):
        masks = {path.stem: path for path in _images(category, "ground_truth/ko", _BTAD)}
        samples = _training(category, ("train/ok",), _BTAD)
        samples += [Sample(path, "test") for path in _images(category, "test/ok", _BTAD)]
        for path in _images(category, "test/ko", _BTAD):
            samples.append(Sample(path, "test", "ko", masks.get(path.stem), _NOT_ZERO))
        _warn_without_masks(category, samples, _BTAD)
        datasets.append(Dataset(folder_name(category), tuple(samples)))
    return datasets


def read_visa(root: Path, categories: Sequence[str] = ()) -> list[Dataset]:
    """Read VisA as published, by its split for one class: ``split_csv/1cls.csv`` with paths relative to the root."""
    table = root / "split_csv" / "1cls.csv"
    if not table.is_file():
        raise LayoutError(
            f"{root}: expected split_csv/1cls.csv with the columns {', '.join(_VISA)}; found {listing(root)}"
        )
    rows: dict[str, list[TableRow]] = {}
    for row in read_rows(table, _VISA):
        if row["object"] in ("", ".", "..") or set(row["object"]) & {"/", "\\"}:
            raise LayoutError(
                f"{table}, row of {row['image']!r}: object {row['object']!r}; a name without / and \\ was wanted"
            )
        rows.setdefault(row["object"], []).append(row | {"path": row["image"]})
    _check_categories(root, categories, rows)
    return [
        Dataset(name, samples_of(table, root, rows[name], _NOT_ZERO)) for name in categories or sorted(rows)
    ]


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
            f"found {listing(root)}"
        )
    train = _mtd_training_names(good, split_file)
    samples = [Sample(path, "train" if path.name in train else "test") for path in good]
    for path in defective:
        mask = path.with_suffix(".png")
        defect = path.parts[-3].removeprefix("MT_").lower()
        samples.append(Sample(path, "test", defect, mask if mask.is_file() else None))
    _warn_without_masks(root, samples, "MT_*/Imgs/*.jpg with masks of the same stem in PNG")
    return Dataset("magnetic tiles", tuple(samples))


def read_elpv(root: Path, categories: Sequence[str] = ()) -> list[Dataset]:
    """Read solar cells as the package ``elpv-dataset`` holds them: ``labels.csv`` beside ``images``.

    One table for each of mono and poly. Cells of defect probability 0 are good, and a seeded 70 % of them are for
    training; those of probability 1 are defective; the others, of which people were not sure, are left out.
    """
    table = root / "labels.csv"
    if not table.is_file():
        raise LayoutError(f"{root}: expected labels.csv and images/*.png; found {listing(root)}")
    _check_categories("elpv", categories, _ELPV_CELLS)
    text = read_text(table, "a table of the package elpv-dataset", LayoutError)
    rows = [line.split() for line in text.splitlines() if line.strip()]
    try:
        cells = [(root / name, float(probability), kind) for name, probability, kind in rows]
    except ValueError as error:
        raise LayoutError(
            f"{table}: expected a path, a probability and a kind in each line ({error})"
        ) from error
    return [_elpv_cells(cells, kind) for kind in categories or _ELPV_CELLS]


def elpv_folder() -> Path:
    """Find the solar cells of the installed package, without importing it."""
    found = find_spec("elpv_dataset")
    if found is None or not found.submodule_search_locations:
        raise MissingExtraError(
            "the data set elpv needs its package (CC BY-NC-SA, 90 MB): pip install 'differnet[elpv]'"
        )
    return Path(next(iter(found.submodule_search_locations)), "data")


def _categories(root: Path, marker: str, asked: Sequence[str], expected: str) -> list[Path]:
    """Find the folders of categories, which hold ``marker``: ``root`` itself, or those in it; all, or those asked."""
    below = [path for path in sorted(root.iterdir()) if (path / marker).is_dir()]
    available = {folder_name(path): path for path in ([root] if (root / marker).is_dir() else below)}
    if not available:
        raise LayoutError(
            f"{root}: expected {expected}, here or in one folder a category; found {listing(root)}"
        )
    _check_categories(root, asked, available)
    return [available[name] for name in asked or sorted(available)]


def _check_categories(root: Path | str, asked: Sequence[str], available: Iterable[str]) -> None:
    known = sorted(available)
    missing = [name for name in asked if name not in known]
    if missing:
        raise LayoutError(f"{root}: no category {missing}; there are {known}")


def _folder(category: Path, name: str, expected: str) -> Path:
    """Return one folder of a category, which must be there."""
    if not (category / name).is_dir():
        raise LayoutError(f"{category}: there is no {name}; expected {expected}; found {listing(category)}")
    return category / name


def _folders(category: Path, name: str, expected: str) -> list[Path]:
    """List the folders in one folder of a category."""
    inside = sorted(_folder(category, name, expected).iterdir())
    return [path for path in inside if path.is_dir() and not path.name.startswith(".")]


def _images(category: Path, name: str, expected: str) -> list[Path]:
    """List the images in one folder of a category."""
    return find(_folder(category, name, expected))


def _training(category: Path, names: Sequence[str], expected: str) -> list[Sample]:
    return [Sample(path, "train") for name in names for path in _images(category, name, expected)]


def _mvtec_tests(category: Path, test: str, masks: str, expected: str) -> list[Sample]:
    """Read ``test``/<defect> with the masks ``masks``/<defect>/<stem>_mask.png, where there are any."""
    samples = []
    for folder in _folders(category, test, expected):
        if folder == category / masks:
            continue
        paths, place = find(folder), category / masks / folder.name
        known = _masks_of(place, {path.stem.lower() for path in paths}) if folder.name != GOOD else {}
        for path in paths:
            samples.append(Sample(path, "test", folder.name, known.pop(path.stem.lower(), None)))
        _warn_of_rest(place, known, folder)
    _warn_without_masks(category, samples, expected)
    return samples


def _masks_of(folder: Path, stems: Collection[str]) -> dict[str, Path]:
    """Return the masks in a folder by the names (``stems``) of their images; those named ``_mask.png`` come first.

    Masks of another name or kind of file, such as ``7.png`` or ``7_gt.bmp`` for ``7.png``, are taken, and said.
    """
    if not folder.is_dir():
        return {}
    paths = [path for path in sorted(folder.iterdir()) if is_image_name(path.name) and path.name[0] != "."]
    usual = {
        path.name.lower().removesuffix("_mask.png"): path for path in paths if path.name.endswith("_mask.png")
    }
    rest = [path for path in paths if not path.name.endswith("_mask.png")]
    others = {stem if (stem := path.stem.lower()) in stems else own_stem(path): path for path in rest}
    for stem in sorted(others.keys() & usual.keys()):
        warn(f"{others.pop(stem)}: left out, since {usual[stem].name} beside it is the mask of that image")
    if others:
        warn(
            f"{folder}: {counted(len(others), 'mask')} {agreeing(len(others), 'has', 'have')} another name than "
            f"NAME_mask.png, such as {next(iter(others.values())).name}; {agreeing(len(others), 'it is', 'they are')} "
            "taken by the name of the image"
        )
    return others | usual


def _warn_of_rest(folder: Path, left: Mapping[str, Path], images: Path) -> None:
    """Say which masks are of no image."""
    if left:
        warn(
            f"{folder}: {counted(len(left), 'mask')} {agreeing(len(left), 'is', 'are')} of no image in {images}, "
            f"such as {next(iter(left.values())).name}, and left out"
        )


def _warn_without_masks(category: Path, samples: Sequence[Sample], expected: str) -> None:
    """Say of which kinds of defect images have no mask: they can be read, but not measured by pixels."""
    bare = Counter(sample.defect for sample in samples if sample.is_defective and not sample.mask)
    of_all = Counter(sample.defect for sample in samples if sample.is_defective)
    whole = sorted(defect for defect, count in bare.items() if count == of_all[defect])
    some = [f"{bare[defect]} of {of_all[defect]} of {defect}" for defect in sorted(set(bare) - set(whole))]
    if bare:
        said = [f"no masks for {', '.join(whole)}"] * bool(whole) + [f"no mask for {', '.join(some)}"] * bool(
            some
        )
        warn(
            f"{category}: {' and '.join(said)}; figures of pixels leave these images out. "
            f"Expected {expected}; found {listing(category)}"
        )


def _mtd_training_names(good: list[Path], split_file: str | Path | None) -> set[str]:
    if split_file is None:
        return {path.name for path in seeded_share(good)}
    path = Path(split_file)
    text = read_text(path, "a split file, one file name a line,", LayoutError)
    names = {Path(line.strip()).name for line in text.splitlines() if line.strip()}
    unknown = sorted(names - {image.name for image in good})
    if unknown:
        raise LayoutError(f"{path}: {len(unknown)} names are not good images here, such as {unknown[0]!r}")
    if not names:
        raise LayoutError(f"{path}: names no image")
    return names


def _elpv_cells(cells: list[tuple[Path, float, str]], wanted: str) -> Dataset:
    good = [path for path, probability, kind in cells if kind == wanted and probability == 0]
    train = seeded_share(good, _ELPV_SHARE)
    samples = [Sample(path, "train" if path in train else "test") for path in good]
    for path, probability, kind in cells:
        if kind == wanted and probability == 1:
            samples.append(Sample(path, "test", "defective"))
    return Dataset(f"elpv {wanted}", tuple(samples))
