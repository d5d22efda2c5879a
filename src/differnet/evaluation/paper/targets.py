"""The tables and figures of the paper: which cells each is made of, and what stands beside them."""

from __future__ import annotations

from collections.abc import Mapping

from differnet.evaluation.paper.figures import fig5, fig6, fig7, fig8
from differnet.evaluation.paper.report import (
    Target,
)
from differnet.evaluation.paper.tables import btad_report, multimodal, table1, table2, table3

COUNTS = (8, 16, 32, 64, 128, 256, 512)


TARGETS: Mapping[str, Target] = {
    "table1": Target(table1, "MVTec AD by category, all training images and a few"),
    "table2": Target(table2, "magnetic tiles, beside other methods as published"),
    "fig5": Target(fig5, "ROC curve"),
    "fig6": Target(fig6, "histogram of the scores"),
    "table3": Target(table3, "ablation: scales, training views, test views", "turned", {"score_views": 64}),
    "fig7": Target(fig7, "AUROC by the number of training images", takes_shots=False, takes_counts=True),
    "fig8": Target(fig8, "heat maps beside true masks"),
    "multimodal": Target(multimodal, "one model of 12 blocks over all categories", settings={"blocks": 12}),
    "btad-report": Target(
        btad_report, "a student report's protocol", settings={"sizes": [448], "epochs": 40, "length": 1.0}
    ),
}
