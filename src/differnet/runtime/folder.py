"""The folder that a station runs from: graphs, calibration, and a manifest that has the size and digest of every file.

Nothing in it can run code: the manifest and the calibration are JSON, graphs are read as ONNX without foreign files or
as OpenVINO without extensions. Digests tell damage and mixed-up files; they are no signature, so whoever can write to
the folder decides what it says.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import numpy.typing as npt

from differnet.data.square import Shape
from differnet.decision.calibration import Order, Standard
from differnet.decision.thresholds import check_count, images_needed
from differnet.errors import ModelFileError
from differnet.runtime import good_part
from differnet.runtime.engines import ENGINES, EngineName

KIND, FORMAT = "differnet station", 3
WITHOUT_GOOD = 2  # the format of a folder that has no picture of a good part
MANIFEST, CALIBRATION, WEIGHTS = "manifest.json", "calibration.json", "weights.bin"
_SUFFIXES: Mapping[EngineName, tuple[str, ...]] = {"onnxruntime": (".onnx", ".json"), "openvino": (".xml",)}
_SUFFIXES_1: Mapping[EngineName, tuple[str, ...]] = {"onnxruntime": (".onnx",), "openvino": (".xml", ".bin")}
ROLES = ("score", "render", "map")
# Of a view: the fewest and the most pixels, and how many times one side the other is.
_PIXELS, _LONGEST = (15**2, 4100**2), 8
_MOST = 16 * 2**20  # bytes of a manifest, most of them a mask
_HALVES = (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)

Numbers = npt.NDArray[np.float32]


@dataclass(frozen=True)
class MapSettings:
    """Heat maps: ``angles`` of the views they are averaged over, in radians, and the heat that is drawn as 1.

    ``takes_features``: whether the graph wants the features of those views too, as one in floats does whose flow was
    fitted to features in integers. ``takes_tile``: whether it wants to know which of several tiles is shown.
    """

    angles: tuple[float, ...]
    scale: float
    takes_features: bool
    takes_tile: bool


@dataclass(frozen=True)
class Drift:
    """Brightness and sharpness (M,) of the calibration images, and the seed of the monitor."""

    brightness: tuple[float, ...] = field(repr=False)
    sharpness: tuple[float, ...] = field(repr=False)
    seed: int


@dataclass(frozen=True, eq=False)
class Station:
    """What :func:`read` found.

    ``shape``: height and width of a view in pixels; ``tiles``: n where pictures are cut into n x n; ``frame``,
    ``ignore``, ``resampling``, ``white``, ``beyond``: see :class:`differnet.config.sections.Views`; ``views`` (V, 3):
    angle, brightness and contrast of each scoring view. ``probe``: features of :func:`probe_views` where the folder was
    made. ``maps``: nothing where the graph has none, for the reason in ``no_maps``. ``graphs``: the bytes of each by
    its role. ``about``: the manifest. ``good``: a typical good part as PNG, where there is one.
    """

    engine: EngineName
    shape: Shape
    tiles: int
    frame: str
    ignore: str | None
    views: Numbers
    standard: Standard
    probe: Numbers
    maps: MapSettings | None
    no_maps: str
    drift: Drift | None
    graphs: Mapping[str, tuple[bytes, ...]] = field(repr=False)
    about: Mapping[str, Any] = field(repr=False)
    digest: str = ""
    resampling: str = "bytes"
    white: float | str = "picture"
    beyond: str = "saturate"
    good: bytes | None = field(default=None, repr=False)


def probe_views(shape: Shape) -> Numbers:
    """Return one view of fixed noise (1, 3, *shape), values 0..255, to compare machines with."""
    noise: Numbers = 255 * np.random.Generator(np.random.PCG64(0)).random((1, 3, *shape), np.float32)
    return noise


def shape_entry(shape: Shape) -> dict[str, int]:
    """Return what the manifest says of the shape of a view: one ``size`` for a square, as it always was."""
    height, width = shape
    return {"size": height} if height == width else {"height": height, "width": width}


def _shape_of(entry: Mapping[str, Any]) -> Shape:
    """Undo :func:`shape_entry`; raises :class:`ValueError` for what no view has."""
    names = ("size", "size") if "size" in entry else ("height", "width")
    height, width = (int(entry[name]) for name in names)
    is_long = max(height, width) > _LONGEST * min(height, width)
    if is_long or not _PIXELS[0] < height * width < _PIXELS[1]:
        raise ValueError(f"views of {height} x {width} pixels")
    return height, width


def describe_files(contents: Mapping[str, bytes]) -> dict[str, dict[str, Any]]:
    """Return size and digest of files by name, for the manifest."""
    return {
        name: {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        for name, content in sorted(contents.items())
    }


def names_of(role: str, engine: EngineName, version: int = FORMAT) -> tuple[str, ...]:
    """Return the names of the files of a graph in a folder of that format: before 2 each had weights of its own."""
    if version == 1:
        return tuple(role + suffix for suffix in _SUFFIXES_1[engine])
    return (*(role + suffix for suffix in _SUFFIXES[engine]), WEIGHTS)


def read(folder: str | Path) -> Station:
    """Read a folder that ``differnet export`` wrote.

    Raises :class:`ModelFileError` for anything else, and when a file is missing, has another size or digest than the
    manifest says, or does not fit the others.
    """
    root = Path(folder)
    text = _manifest(root)
    try:
        about = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ModelFileError(f"{root / MANIFEST}: not JSON ({error}); export the model again") from error
    if not isinstance(about, dict) or about.get("kind") != KIND:
        raise ModelFileError(
            f"{root}: not the folder of a station; one that 'differnet export' wrote was wanted"
        )
    version = about.get("format")
    if not isinstance(version, int) or not 1 <= version <= FORMAT:
        raise ModelFileError(
            f"{root}: format {version!r}; this version reads formats 1 to {FORMAT}, so export the model again or "
            "install the differnet that wrote it"
        )
    try:
        wanted = {str(name): (int(of["bytes"]), str(of["sha256"])) for name, of in about["files"].items()}
        engine = about["engine"]
        if engine not in ENGINES:
            raise ValueError(f"engine {engine!r}; one of {', '.join(ENGINES)} was wanted")
        names = {role: names_of(role, engine, version) for role in ROLES}
        roles = [role for role in ROLES if names[role][0] in wanted]
        needed = {CALIBRATION, *(name for role in roles for name in names[role])}
        needed |= {good_part.NAME} & set(wanted) if version > WITHOUT_GOOD else set()
        if needed != set(wanted) or "score" not in roles:
            raise ValueError(f"files {sorted(wanted)}, where {sorted(needed)} were wanted")
        good_part.check_size(wanted.get(good_part.NAME, (0, ""))[0])
        contents = {name: _content(root / name, *of) for name, of in wanted.items()}
        graphs = {role: tuple(contents[name] for name in names[role]) for role in roles}
        digest = hashlib.sha256(text).hexdigest()
        station = _build(about, json.loads(contents[CALIBRATION]), graphs, digest)
        return replace(station, good=good_part.checked(contents.get(good_part.NAME)))
    except ModelFileError:
        raise
    except _HALVES as error:
        raise ModelFileError(
            f"{root}: what is in it does not fit together ({error}); export the model again"
        ) from error


def digest_of(folder: str | Path) -> str:
    """Return the digest of a folder's manifest, and so of all that it names; raises :class:`ModelFileError`."""
    return hashlib.sha256(_manifest(Path(folder))).hexdigest()


def _manifest(root: Path) -> bytes:
    path = root / MANIFEST
    if not root.is_dir():
        raise ModelFileError(f"{root}: no such folder; one that 'differnet export' wrote was wanted")
    if not path.is_file():
        raise ModelFileError(f"{root}: has no {MANIFEST}; a folder that 'differnet export' wrote was wanted")
    if path.stat().st_size > _MOST:
        raise ModelFileError(f"{path}: {path.stat().st_size} bytes; no manifest is that large")
    return path.read_bytes()


def _content(path: Path, size: int, digest: str) -> bytes:
    """Read a file whose size is known, so that a wrong one is told before it is read."""
    if not path.is_file():
        raise ModelFileError(f"{path}: missing; export the model again, or copy the folder whole")
    found = path.stat().st_size
    if found != size:
        raise ModelFileError(f"{path}: {found} bytes where {size} were wanted; copy the folder again")
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != digest:
        raise ModelFileError(f"{path}: its digest is not the one in the manifest; copy the folder again")
    return content


def _build(
    about: Mapping[str, Any],
    calibration: Mapping[str, Any],
    graphs: Mapping[str, tuple[bytes, ...]],
    digest: str,
) -> Station:
    square, decision, maps = about["square"], about["decision"], about["maps"]
    views = _numbers(about["views"], 3).astype(np.float32)
    shape, tiles = _shape_of(square), int(square["tiles"])
    if not 1 <= tiles <= 8:
        raise ValueError(f"views in {tiles} x {tiles} tiles")
    if square["frame"] not in ("squash", "pad") or decision["order"] not in get_args(Order):
        raise ValueError(f"frame {square['frame']!r}, views in order {decision['order']!r}")
    if (maps is None) != ("map" not in graphs):
        raise ValueError("heat maps without a graph, or a graph without settings")
    if "render" not in graphs and must_be_rendered(views, maps["angles"] if maps else ()):
        raise ValueError("views that turn, and no graph that renders them")
    standard = _standard(decision, calibration["view_scores"], len(views))
    return Station(
        engine=about["engine"],
        shape=shape,
        tiles=tiles,
        frame=str(square["frame"]),
        ignore=None if square["ignore"] is None else str(square["ignore"]),
        views=views,
        standard=standard,
        probe=_numbers([calibration["probe"]], len(calibration["probe"])).astype(np.float32),
        maps=None if maps is None else _map_settings(maps),
        no_maps=str(about["no_maps"]),
        drift=_drift(calibration["drift"], len(standard.view_scores)),
        graphs=graphs,
        about=about,
        digest=digest,
        resampling=_resampling(square),
        white=_white(square),
        beyond=_beyond(square),
    )


def _standard(decision: Mapping[str, Any], view_scores: Any, usual_views: int) -> Standard:
    """Return what is judged by; raises :class:`ValueError` where the scores are too few for the promise."""
    table = _numbers(view_scores, len(view_scores[0])) if view_scores else np.empty((0, 0))
    standard = Standard(
        view_scores=table,
        usual_views=usual_views,
        order=decision["order"],
        rate=float(decision["rate"]),
        confidence=_or_nothing(decision["confidence"]),
        review_rate=_or_nothing(decision["review_rate"]),
        folds=int(decision["folds"]),
    )
    for rate in (standard.rate, standard.review_rate):
        if rate is not None:
            images_needed(rate, standard.confidence)
    if len(table):
        check_count(len(table), standard.rate, standard.confidence, standard.folds)
    return standard


def must_be_rendered(views: npt.NDArray[Any], angles: Sequence[float]) -> bool:
    """Whether some view (V, 3), or one that heat maps are made of, is not the square as it is."""
    return bool((views != np.array([0, 1, 1], dtype=views.dtype)).any() or any(angles))


def _map_settings(values: Mapping[str, Any]) -> MapSettings:
    (angles,) = _numbers([values["angles"]], len(values["angles"]))
    scale = float(values["scale"])
    if len(angles) == 0 or not scale > 0 or not math.isfinite(scale):
        raise ValueError(f"heat maps of {len(angles)} views at a scale of {scale}")
    takes = bool(values["takes_features"]), bool(values.get("takes_tile", False))
    return MapSettings(tuple(float(angle) for angle in angles), scale, *takes)


def _drift(values: Mapping[str, Any] | None, count: int) -> Drift | None:
    if values is None:
        return None
    brightness, sharpness = _numbers([values["brightness"], values["sharpness"]], count)
    return Drift(tuple(map(float, brightness)), tuple(map(float, sharpness)), int(values["seed"]))


def _resampling(square: Mapping[str, Any]) -> str:
    """Return in which numbers pictures are resized; folders of before, which do not say, did so in bytes."""
    found = square.get("resampling", "bytes")
    if found not in ("bytes", "floats"):
        raise ValueError(f"resampling {found!r}; 'bytes' or 'floats' was wanted")
    return str(found)


def _white(square: Mapping[str, Any]) -> float | str:
    """Return which level is white; folders of before, which do not say, let each picture decide."""
    found = square.get("white", "picture")
    if found in ("picture", "type"):
        return str(found)
    if isinstance(found, bool) or not isinstance(found, int | float) or not 0 < found <= 2**32:
        raise ValueError(f"white {found!r}; a level, 'type' or 'picture' was wanted")
    return float(found)


def _beyond(square: Mapping[str, Any]) -> str:
    found = square.get("beyond", "saturate")
    if found not in ("saturate", "refuse"):
        raise ValueError(f"beyond {found!r}; 'saturate' or 'refuse' was wanted")
    return str(found)


def _numbers(rows: Any, width: int) -> npt.NDArray[np.float64]:
    """Return a table (N, width) of finite numbers; raises :class:`ValueError` for anything else."""
    if not rows:
        raise ValueError("an empty table")
    table = np.array(rows, dtype=np.float64).reshape(len(rows), -1)
    if table.shape != (len(rows), width) or not np.isfinite(table).all():
        raise ValueError(
            f"a table of shape {table.shape}, or with NaN, where ({len(rows)}, {width}) was wanted"
        )
    return table


def _or_nothing(value: Any) -> float | None:
    return None if value is None else float(value)
