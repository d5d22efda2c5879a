"""One record of a prediction, and what is made of it: rows, Parquet, inspections."""

from __future__ import annotations

import numpy as np

from differnet.batch.journal import COLUMNS
from differnet.batch.rows import row_of
from differnet.decision.verdict import Prediction, PredictionRecord
from differnet.service.record.inspection import Inspection, with_prediction

FOUND = Prediction(3.0, 4.0, False, 0.25, 16, 2.0, np.zeros((2, 2), dtype=np.float32))
WANTED = {
    "score": 3.0, "p_value": 0.25, "threshold": 4.0, "is_defective": False,
    "views": 16, "verdict": "review", "percent": 75.0, "review_threshold": 2.0,
}  # fmt: skip


def test_the_record_is_all_but_the_heat_map():
    assert FOUND.record._asdict() == WANTED
    assert set(PredictionRecord()) == {None}


def test_a_row_is_the_record_with_path_error_and_note():
    assert COLUMNS == (
        "path", "score", "p_value", "threshold", "is_defective", "views", "verdict", "percent", "error", "note",
    )  # fmt: skip
    row = row_of("a.png", FOUND)
    assert list(row) == list(COLUMNS)
    assert row == {name: (WANTED | {"path": "a.png", "error": None, "note": None})[name] for name in COLUMNS}
    bad = row_of("a.png", "no image")
    assert bad == {name: {"path": "a.png", "error": "no image"}.get(name) for name in COLUMNS}


def test_an_inspection_is_the_record_with_what_it_was_made_of():
    row = with_prediction(
        Inspection(model="m", model_digest="d", source="http", image_digest="i", verdict=None), FOUND
    )
    assert {name: getattr(row, name) for name in WANTED if name != "is_defective"} == {
        name: value for name, value in WANTED.items() if name != "is_defective"
    }
    assert (row.model, row.heat_map) == ("m", None)
