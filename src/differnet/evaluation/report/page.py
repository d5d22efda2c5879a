"""The report: one page with every verdict, its picture, heat map and mask, and what the threshold promises.

The page needs no network and asks nothing of one: styles, script and pictures are inside, and its content security
policy forbids all else. Pictures are read from the page a table page at a time, so thousands of images do not
freeze it.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import math
import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import IO, Any

import jinja2
import numpy as np
import numpy.typing as npt
from PIL import Image

from differnet import __version__
from differnet.data.datasets import Dataset, Sample
from differnet.data.files import check_target, growing
from differnet.data.images import Pixels, load
from differnet.data.pixels import pixel_digest
from differnet.data.stream import Progress, silent
from differnet.decision.light import measure
from differnet.decision.plan import plan
from differnet.decision.thresholds import CONDITION
from differnet.decision.verdict import Heat, Prediction, review_promise
from differnet.decision.words.sentences import SAYS
from differnet.detector.detector import DifferNet
from differnet.detector.model import Model, summarise
from differnet.evaluation.drawing.outline import outline
from differnet.evaluation.report import findings
from differnet.evaluation.report.findings import Findings, ReportedImage
from differnet.runtime import heatmap
from differnet.runtime.heatmap import ANCHORS

PAGE = 50  # rows of the table that are shown together; so many pictures are read at a time
_SIDES = ((400, 256), (1500, 176), (10**9, 128))  # up to so many images, thumbnails of that many pixels
_FOLDER = Path(__file__).parent


def write(
    detector: DifferNet,
    data: Dataset,
    labelled: bool,
    target: Path,
    maps: bool = True,
    title: str | None = None,
    progress: Progress = silent,
) -> Findings:
    """Judge ``data.test`` and write the page, whole or not at all; returns its figures.

    ``labelled``: whether the labels of the samples mean anything. ``maps=False`` leaves heat maps out, which take
    longer than the verdicts.
    """
    check_target(target)
    samples = data.test
    seen = _seen(detector)
    rows: list[ReportedImage] = []
    names, starts = _names([sample.path for sample in samples]), [0]
    with tempfile.TemporaryFile(prefix="differnet-report-") as pictures:
        side = next(side for most, side in _SIDES if len(samples) <= most)
        predictions = detector.predict_iter([sample.path for sample in samples], maps)
        for sample, prediction in zip(samples, predictions, strict=True):
            pixels = load(sample.path, detector.settings.views)
            defect = sample.defect if labelled else None
            rows.append(_judged(names[len(rows)], defect, prediction, pixels, pixel_digest(pixels) in seen))
            pictures.write(json.dumps(_pictures(sample, pixels, prediction.heat_map, side)).encode() + b"\n")
            starts.append(pictures.tell())
            progress("judging and drawing", len(rows), len(samples))
        found = findings.find(detector.model, rows)
        order = sorted(range(len(rows)), key=lambda index: _place(rows[index]))  # as shown
        context = _assets() | _of_model(detector)
        context |= {"title": title or data.name, "labelled": labelled, "maps": maps, "found": found}
        context["has_masks"] = any(sample.mask is not None for sample in samples)
        context |= {"total": len(rows), "rows": [_row(rows[index]) for index in order]}
        chunks = _chunks(pictures, [starts[index] for index in order])
        with growing(target) as file:
            for part in _template().generate(context | {"chunks": chunks}):
                file.write(part)
    return found


def _seen(detector: DifferNet) -> set[str]:
    """Return the digests of all images that the model was fitted to or calibrated on."""
    fitted, record = detector.model.fitted_on, detector.model.calibrated_on
    return set(fitted.images if fitted else ()) | set(record.sources.images if record else ())


def _names(paths: list[Path]) -> list[str]:
    """Return the paths from the folder on that all of them have in common: no two are the same.

    >>> _names([Path("data/mon/good/1.png"), Path("data/tue/good/1.png")])
    ['mon/good/1.png', 'tue/good/1.png']
    """
    whole = [path.absolute() for path in paths]
    try:
        root = os.path.commonpath([path.parent for path in whole])
    except ValueError:  # no images, or several drives
        return [path.as_posix() for path in whole]
    return [path.relative_to(root).as_posix() for path in whole]


def _place(row: ReportedImage) -> tuple[int, float]:
    """Return where an image stands at first: missed defects, then false alarms, then all by falling score."""
    said, is_known = row.prediction.verdict, row.defect is not None
    is_missed = is_known and row.defect != "good" and said == "OK"
    is_alarm = is_known and row.defect == "good" and said == "NG"
    return (0 if is_missed else 1 if is_alarm else 2), -row.prediction.score


def _judged(
    name: str, defect: str | None, prediction: Prediction, pixels: Pixels, seen: bool
) -> ReportedImage:
    return ReportedImage(name, defect, replace(prediction, heat_map=None), measure(pixels), seen)


def _pictures(sample: Sample, pixels: Pixels, heat: Heat | None, side: int) -> list[str]:
    """Return image, heat map and mask as data addresses; empty for a map without heat and where there is no mask."""
    size = _fitted(pixels.shape[1], pixels.shape[0], side)
    grey = bool((pixels[..., :1] == pixels).all())
    image = Image.fromarray(pixels).resize(size, Image.Resampling.LANCZOS)
    found = [_address(image.convert("L") if grey else image, "jpeg", quality=82)]
    found.append("" if heat is None else _heat_layer(heat, size))
    if sample.mask is None:
        return [*found, ""]
    mask = Image.fromarray(sample.true_mask(pixels.shape[:2]).astype(np.uint8) * 255)
    shrunk = (
        np.asarray(mask.resize(size, Image.Resampling.BOX)) > 0
    )  # a defect of few pixels stays to be seen
    return [*found, _address(Image.fromarray(outline(shrunk), "RGBA"), "png", optimize=True)]


def _heat_layer(heat: npt.NDArray[Any], size: tuple[int, int]) -> str:
    """Return a heat map to lay over its image: clear below the peak of a typical good image."""
    small = np.asarray(
        Image.fromarray(heat.astype(np.float32)).resize(size, Image.Resampling.BOX), np.float32
    )
    drawn = heatmap.layer(small)
    return _address(Image.fromarray(drawn, "RGBA"), "webp", quality=60) if drawn[..., 3].any() else ""


def _fitted(width: int, height: int, side: int) -> tuple[int, int]:
    scale = min(1.0, side / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def _address(image: Image.Image, kind: str, **options: Any) -> str:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _chunks(pictures: IO[bytes], starts: list[int]) -> Iterator[list[list[str]]]:
    """Yield the pictures of ``PAGE`` images at a time, by where their lines start."""
    for first in range(0, len(starts), PAGE):
        chunk: list[list[str]] = []
        for start in starts[first : first + PAGE]:
            pictures.seek(start)
            chunk.append(json.loads(pictures.readline()))
        yield chunk


def _template() -> jinja2.Template:
    here = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    here.filters["percent"] = percent
    here.filters["at_most"] = lambda share: percent(_outward(share, math.ceil))
    here.filters["at_least"] = lambda share: percent(_outward(share, math.floor))
    return here.get_template("report.html")


def percent(share: float) -> str:
    """Write a share in percent with as many digits as it needs.

    >>> percent(0.005), percent(0.37), percent(0.99999), percent(1.0)
    ('0.5 %', '37 %', '99.999 %', '100 %')
    """
    number = 100 * share
    if number >= 99:
        digits = next((n for n in range(4, 12) if share == 1 or float(f"{number:.{n}g}") < 100), 12)
        return f"{number:.{digits}g} %"
    return f"{number:.2g} %" if number < 10 else f"{number:.0f} %"


def _outward(share: float, whole: Callable[[float], int]) -> float:
    """Round a bound away from what it bounds, to the digits that :func:`percent` writes.

    >>> percent(_outward(0.03343, math.ceil)), percent(_outward(0.0369, math.floor)), percent(_outward(0.5, math.ceil))
    ('3.4 %', '3.6 %', '50 %')
    """
    number = 100 * share
    if number <= 0:
        return share
    digits = 1 - math.floor(math.log10(number)) if number < 10 else 0 if number < 99 else 2
    near = round(number * 10.0**digits)
    step = near if abs(number * 10.0**digits - near) < 1e-9 * max(near, 1) else whole(number * 10.0**digits)
    return step / 10.0**digits / 100


def _assets() -> dict[str, Any]:
    """Return what every page has: its styles and script with their hashes, the time and the version."""
    style, script = ((_FOLDER / name).read_text() for name in ("report.css", "report.js"))
    return {
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "version": __version__,
        "style": style,
        "script": script,
        "style_hash": _hash(style),
        "script_hash": _hash(script),
        "page": PAGE,
        "colours": [(index / (len(ANCHORS) - 1), colour) for index, colour in enumerate(ANCHORS)],
        "says": {name or "none": text for name, text in SAYS.items()},
    }


def _worth(model: Model) -> str:
    """Say how many independent images those of the calibration are worth, where they are of fewer groups."""
    effective, decision = model.effective, model.config.decision
    if effective is None or effective.groups == effective.count:
        return ""
    return effective.in_words(decision.rate, decision.confidence)


def _of_model(detector: DifferNet) -> dict[str, Any]:
    """Return what is said of the model, and what it promises."""
    model = detector.model
    return {
        "promise": detector.promise,
        "review": review_promise(model),
        "condition": CONDITION,
        "worth": _worth(model),
        "plan": plan(model.config.decision.rate, model.config.decision.confidence or 0.95),
        "decision": model.config.decision,
        "record": model.calibrated_on,
        "model": summarise(model),
        "choice": model.choice,
        "views": model.usual_views,
    }


def _row(judged: ReportedImage) -> list[Any]:
    said = judged.prediction
    figures = said.verdict, said.score, said.percent, said.p_value
    return [judged.name, judged.defect, *figures, int(judged.seen)]


def _hash(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
