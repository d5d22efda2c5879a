"""The options of the commands, each written once, and what is checked of them before any work."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args
from urllib.parse import quote

import typer

from differnet.errors import ConfigError

if TYPE_CHECKING:
    from differnet.config.presets import Config
    from differnet.data.datasets import Layout

PASSWORD = "DIFFERNET_STORE_PASSWORD"  # noqa: S105  the name of the variable that has it


def refuse_password(ctx: typer.Context, param: typer.CallbackParam, url: str) -> str:
    """Refuse a password on the command line, which all users of a machine can read in the list of processes."""
    source = ctx.get_parameter_source(param.name or "")
    if (
        source is not None
        and source.name == "COMMANDLINE"
        and re.search(r"^[^/]+://[^/@]*:[^@]+@|[?&]password=", url)
    ):
        raise typer.BadParameter(
            "a password on the command line can be read by every user of this machine (ps); give the URL without it, "
            f"and the password by ${PASSWORD} or --store-password-file FILE"
        )
    return url


def with_password(url: str, file: Path | None) -> str:
    """Return the URL of a database with the password of a file, or of the environment, where it has none."""
    given = os.environ.get(PASSWORD) if file is None else file.read_text("utf-8").rstrip("\r\n")
    if given is None or url.startswith("sqlite"):
        return url
    if not given:
        raise ConfigError(f"{file or '$' + PASSWORD}: is empty; the password of the database was wanted")
    head, separator, rest = url.partition("://")
    user, at, place = rest.rpartition("@")
    if not (separator and at and user) or ":" in user:
        raise ConfigError(
            "a password needs a URL with a user and without one: postgresql+psycopg://USER@HOST/NAME"
        )
    return f"{head}://{user}:{quote(given, safe='')}@{place}"


Store = Annotated[
    str,
    typer.Option(
        "--store",
        callback=refuse_password,
        help=f"Record: sqlite:///FILE or postgresql+psycopg://USER@HOST/NAME, its password by ${PASSWORD}.",
    ),
]
StorePasswordFile = Annotated[
    Path | None, typer.Option(help="File with the password of the database, and nothing else.")
]
AuditShare = Annotated[
    float,
    typer.Option(
        min=0.0, max=1.0, help="Share of the parts judged OK that is drawn for the review, e.g. 0.01."
    ),
]
PartPattern = Annotated[
    str | None,
    typer.Option(
        help="Regular expression over file names: its groups serial, lot, station, ... name the part."
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout and nothing else.")]
Timings = Annotated[bool, typer.Option("--timings", help="Say how long each stage took.")]
Preset = Annotated[
    str,
    typer.Option(
        help="Settings to start from: default, single, fast, thorough, turned, wide_resnet50, dinov2, dinov3 or paper."
    ),
]
Seed = Annotated[int, typer.Option(min=0, help="Seed of everything random.")]
Maps = Annotated[bool, typer.Option(help="Compute pixel AUROC and AUPRO where masks exist.")]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="Replace one setting, e.g. epochs=20; repeatable."),
]
ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--config",
        help="TOML (or YAML) file of settings, over the preset; --set and other options go over it.",
    ),
]
Weights = Annotated[
    str | None, typer.Option(help="File of backbone weights (.pth or .safetensors), for use offline.")
]
Device = Annotated[str, typer.Option(help="Where to compute: cpu, cuda, cuda:1, mps.")]
GroupPattern = Annotated[
    str | None,
    typer.Option(
        help="Regular expression over paths below the folder; images with equal matches belong together (same part)."
    ),
]
GroupTable = Annotated[
    Path | None, typer.Option(help="CSV table with the columns path and group, instead of a pattern.")
]
GroupColumn = Annotated[str, typer.Option(help="Column of --group-table that says what belongs together.")]
GroupsTarget = Annotated[
    Path | None,
    typer.Option(
        "--groups-to",
        help="CSV table to write: which images were found to belong together, to be edited for --group-table.",
    ),
]
Rate = Annotated[float | None, typer.Option(help="False-alarm rate wanted (fit: 0.01).")]
Confidence = Annotated[
    float | None,
    typer.Option(help="Promise the rate with this confidence, e.g. 0.95, instead of on average."),
]
ReviewRate = Annotated[
    float | None,
    typer.Option(help="A higher false-alarm rate, from whose threshold on a person should look."),
]
Model = Annotated[Path, typer.Argument(help="Model file.")]
ModelPlace = Annotated[str, typer.Argument(help="Model file; with --engine ray also a URI.")]
LayoutName = Annotated[
    str,
    typer.Option(
        help="auto, folder, table, mvtec, mvtec-ad2, mvtec-3d, btad, visa, mtd or elpv (auto tells them apart)."
    ),
]
Category = Annotated[list[str] | None, typer.Option(help="Category, such as bottle, 01 or mono; repeatable.")]
Split = Annotated[Path | None, typer.Option(help="File naming the training images (mtd).")]
Shots = Annotated[int | None, typer.Option(min=1, help="Train on this many random images.")]
Engine = Annotated[str, typer.Option(help="Where to work: local, or ray, on a cluster (docs/scale.md).")]
Address = Annotated[
    str | None,
    typer.Option(
        help="With --engine ray: auto, or HOST:PORT of a cluster; if not given, Ray on this machine alone."
    ),
]
Inputs = Annotated[
    list[str],
    typer.Argument(help="Images or folders; with --engine ray also s3:// and such, .tar and .parquet."),
]
Rows = Annotated[
    str | None,
    typer.Option("--out", "-o", help="Write rows to .csv or .jsonl; with --engine ray a folder or URI."),
]
OnError = Annotated[
    str | None,
    typer.Option(
        help="An image that cannot be judged: fail (the default), or skip with a row that says why (always with "
        "--engine ray)."
    ),
]
Actors = Annotated[
    int | None, typer.Option(min=1, help="With --engine ray: judging processes (default: one a core or GPU).")
]
Part = Annotated[int, typer.Option(min=1, max=1_000_000, help="With --engine ray: images in a file of rows.")]

# what only some of them have
Good = Annotated[Path, typer.Argument(help="Folder of good images.")]
OtherGood = Annotated[Path, typer.Argument(help="Folder of good images that it was not fitted to.")]
ModelTarget = Annotated[Path, typer.Option("--out", "-o", help="Model file to write.")]
Folds = Annotated[
    int | None, typer.Option(help="Few images: calibrate on all of them, by that many folds (5).")
]
Ignore = Annotated[
    Path | None, typer.Option(help="Mask image: what is white does not matter and is not looked at.")
]
Checkpoint = Annotated[
    Path | None, typer.Option(help="Folder to keep progress in; run again to go on after a stop.")
]
Marginal = Annotated[
    bool, typer.Option("--marginal", help="Promise the rate on average alone: fewer images will do.")
]
Defects = Annotated[
    Path | None,
    typer.Option(help="Folder of known defects, a subfolder a type: say how many would be found."),
]
Keys = Annotated[
    Path, typer.Argument(help="Table (.csv, .parquet) with key, path, split, label and, where known, mask.")
]
ModelsFolder = Annotated[Path, typer.Option("--out", "-o", help="Folder for models and the summary.")]
Labelled = Annotated[
    Path, typer.Argument(help="Data set: a folder, a table (.csv, .parquet), or elpv for the package.")
]
Seeds = Annotated[
    int | None, typer.Option(min=1, help="How many seeds: 0, 1, ...; if not given, 1, or 3 with --shots.")
]
Figures = Annotated[Path | None, typer.Option("--out", "-o", help="Folder for figures, scores and pictures.")]
Methods = Annotated[
    str,
    typer.Option(
        help="Names with commas between: differnet, ocsvm, 1nn, mahalanobis, geotrans, ganomaly, dsebm, adgan, "
        "padim, patchcore, cflow, fastflow (the last four need 'differnet[compare]')."
    ),
]
ComparedShots = Annotated[
    int | None, typer.Option(min=1, help="Train on this many images, drawn anew by each seed.")
]
ComparedSeeds = Annotated[int, typer.Option(min=1, help="How many seeds: 0, 1, ...")]
ComparedFolder = Annotated[
    Path | None, typer.Option("--out", "-o", help="Folder for the table; finished cells are kept there.")
]
Retime = Annotated[
    bool, typer.Option("--retime", help="Take times again that were taken on a busy or another machine.")
]
TARGETS = "table1, table2, fig5, fig6, table3, fig7, fig8, multimodal or btad-report"
Target = Annotated[str, typer.Argument(help=f"{TARGETS}.")]
PaperData = Annotated[Path, typer.Argument(help="Data set: a folder or a table (.csv, .parquet).")]
PaperFolder = Annotated[
    Path,
    typer.Option("--out", "-o", help="Folder for table, page and picture; finished cells are kept there."),
]
PaperSeeds = Annotated[int, typer.Option(min=1, help="How many seeds and random subsets: 0, 1, ...")]
PaperShots = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Train on so many images, drawn by each seed; in table1 and table2 beside all of them (16).",
    ),
]
PaperCounts = Annotated[
    list[int] | None, typer.Option(min=1, help="Number of training images (fig7); repeatable.")
]
PaperPreset = Annotated[
    str | None,
    typer.Option(
        help="Settings to start from; if not given, paper with --weights, else default (table3: turned)."
    ),
]
MapsFolder = Annotated[Path | None, typer.Option(help="Folder for overlays (PNG) and raw maps (NPY).")]
Views = Annotated[
    str | None,
    typer.Option(help="Views an image: a number, or auto to stop as soon as the verdict is certain."),
]
DriftFile = Annotated[
    Path | None,
    typer.Option(help="File of a drift monitor: made if missing, gone on from, and written back."),
]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with a run to --out that was broken off.")]
AllPages = Annotated[
    bool, typer.Option("--all-pages", help="Take every page of a TIFF, not the first alone.")
]
FailOnDefect = Annotated[bool, typer.Option(help="Exit with 1 when an image was NG.")]
StationTarget = Annotated[Path, typer.Option("--to", help="Folder to write; it must not exist, or be empty.")]
StationFormat = Annotated[
    str, typer.Option("--format", help="What runs it: onnx (ONNX Runtime) or openvino.")
]
Int8 = Annotated[
    bool, typer.Option("--int8", help="Take the 8-bit network that the model brings along (openvino).")
]
Check = Annotated[
    Path | None,
    typer.Option(help="Folder of images that the folder must judge as the model does; synthetic if none."),
]


def settings_of(preset: str | Config, assignments: list[str] | None, file: Path | None = None) -> Config:
    """Return the settings of a preset with those of a file and, over them, of ``--set`` in their place."""
    from differnet.config import presets
    from differnet.data.square import with_mask_as_text

    return presets.resolve(preset, with_mask_as_text(asked_for(file, assignments)))


def asked_for(
    file: Path | None, assignments: list[str] | None, given: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return settings by their names alone: of a file, over them of ``--set``, over them what is ``given``."""
    from differnet.config import as_toml, presets
    from differnet.data.files import read_text

    found = (
        {} if file is None else as_toml.read(read_text(file, "a TOML or YAML file of settings"), str(file))
    )
    over = presets.parse_assignments(assignments or []) | dict(given or {})
    found |= {presets.check_name(name): value for name, value in over.items()}
    return {name.rpartition(".")[2]: value for name, value in found.items()}


def count_of(views: str | None) -> Any:
    """Read ``--views``: nothing, a number, or auto."""
    if views is None or views == "auto":
        return views
    if not views.isdecimal() or int(views) < 1:
        raise typer.BadParameter(f"--views {views}: a number from 1, or auto, was wanted")
    return int(views)


def check_engine(engine: str, address: str | None = None) -> None:
    """Refuse an engine that is none, and an address that nothing would connect to."""
    if engine not in ("local", "ray"):
        raise typer.BadParameter(f"--engine {engine}: local or ray was wanted")
    if address is not None and engine != "ray":
        raise typer.BadParameter(f"--address {address} is for --engine ray")


def check_layout(name: str) -> Layout:
    """Return the name of a layout; raises what the command line shows as a wrong option for any other text."""
    from differnet.data import datasets

    for layout in get_args(datasets.Layout):
        if layout == name:
            found: Layout = layout
            return found
    raise typer.BadParameter(f"{name!r} is not one of {', '.join(get_args(datasets.Layout))}")


def check_one_of(option: str, value: str, known: tuple[str, ...]) -> str:
    """Return a value that is among those known, and refuse any other."""
    if value not in known:
        raise typer.BadParameter(f"{option} {value}: {', '.join(known[:-1])} or {known[-1]} was wanted")
    return value
