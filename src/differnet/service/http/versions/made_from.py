"""What a version was made from, as the manifest of its folder says: kept with it, within bounds."""

from __future__ import annotations

import json
from typing import Any

from differnet.runtime.folder import Station

_MOST = 64 * 2**10  # characters of one entry
_ENTRIES = {  # what is kept of the record of the model, by the name that it has there
    "images": "train_count",
    "calibration_images": "calibration_count",
    "calibrated_on": "calibrated_on",
    "effective": "effective_count",
    "sisters": "sisters",
    "promised": "promised_false_alarm_rate",
    "guarantee": "guarantee",
    "backbone": "backbone_origin",
    "seed": "seed",
    "settings": "config",
    "made_with": "versions",
}


def made_from(station: Station) -> dict[str, Any]:
    """Return how many images, which settings, which versions of packages; an entry that is missing is null.

    ``left_out``: entries that are there and too long.
    """
    model = station.about.get("model")
    record = model if isinstance(model, dict) else {}
    found: dict[str, Any] = {name: record.get(entry) for name, entry in _ENTRIES.items()}
    found["exported_with"] = station.about.get("versions")
    left_out = [name for name, value in found.items() if len(json.dumps(value)) > _MOST]
    standard = station.standard
    return (
        found
        | dict.fromkeys(left_out)
        | {
            "engine": station.engine,
            "views": len(station.views),
            "has_maps": station.maps is not None,
            "rate": standard.rate,
            "review_rate": standard.review_rate,
            "left_out": left_out,
        }
    )
