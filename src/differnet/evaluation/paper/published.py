"""Figures that others published, as they printed them: what own runs are put beside.

AUROC in %. What could not be checked is left out rather than copied from memory: of Table 1 and Table 3 of the paper
only the means are here. To add a figure, add it here with its source.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from differnet.data.datasets import Dataset

PAPER = "Rudolph, Wandt, Rosenhahn, Same Same But DifferNet, WACV 2021 (arXiv 2008.12577)"
_PATCHCORE = "Roth et al., Towards Total Recall in Industrial Anomaly Detection, CVPR 2022"
_CS_FLOW = "Rudolph et al., Fully Convolutional Cross-Scale-Flows, WACV 2022"


class Figure(NamedTuple):
    """A method, its figure as printed, and where."""

    method: str
    value: str
    source: str


MVTEC = frozenset(
    [
        "bottle",
        "cable",
        "capsule",
        "carpet",
        "grid",
        "hazelnut",
        "leather",
        "metal_nut",
        "pill",
        "screw",
        "tile",
        "toothbrush",
        "transistor",
        "wood",
        "zipper",
    ]
)
TABLE1_MEAN = "94.9"  # over the categories of MVTEC, all training images
TABLE1_MEAN_16 = "87.3"  # the same with 16 of them
TABLE1_1NN, TABLE1_OCSVM = "83.9", "71.9"  # means, on the same features

TABLE2 = (
    Figure("GeoTrans", "75.5", PAPER),
    Figure("GANomaly", "76.6", PAPER),
    Figure("DSEBM", "57.2", PAPER),
    Figure("ADGAN", "46.4", PAPER),
    Figure("one-class SVM", "58.7", PAPER),
    Figure("1-NN", "80.0", PAPER),
    Figure("PatchCore", "97.9", _PATCHCORE),
    Figure("CS-Flow", "about 99.3", _CS_FLOW),
)
TABLE2_DIFFERNET = "97.7"
FIG5_RECALL = "about 50"  # % of the defective tiles above every one of 191 good ones

MULTIMODAL_MEAN = "90.2"  # one model of 12 blocks over the categories of MVTEC

BTAD_REPORT = {"01": "95.53", "02": "79.53", "03": "92.40"}
BTAD_SOURCE = "a student report of the method on BTAD (AlexNet, 448 pixels, 5 x 8 epochs)"


def is_mvtec(datasets: Sequence[Dataset]) -> bool:
    """Whether these are the categories that the paper's means are over."""
    names = {data.name for data in datasets}
    return names == MVTEC and all(data.layout == "mvtec" for data in datasets)


def is_papers_tiles(data: Dataset) -> bool:
    """Whether these are magnetic tiles by a split file; which one cannot be told, and the page shows its name."""
    return data.layout == "mtd" and data.split_file is not None


def other_split(data: Dataset) -> tuple[str, ...]:
    """Return what must be said of magnetic tiles by another split than the paper's; nothing of other data."""
    if data.layout != "mtd" or is_papers_tiles(data):
        return ()
    return (
        "No published figures beside: they are of the paper's split, and this is a random one (`--split FILE` names "
        "the training images).",
    )
