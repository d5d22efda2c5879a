"""The command of the studio: train where the pictures are, in a browser."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from differnet.cli import options, serve
from differnet.cli.console import guarded
from differnet.cli.serving import options as serving
from differnet.errors import ConfigError

Allow = Annotated[
    list[Path] | None,
    typer.Option(
        help="Folder that may be looked into from the browser, with all below it (default: this one)."
    ),
]
Work = Annotated[Path, typer.Option(help="Folder in which the studio keeps all that it makes.")]
Record = Annotated[
    str | None,
    typer.Option(
        metavar="STORE",
        callback=options.refuse_password,
        help="URL of a record of serve or watch, whose confirmed good pictures can be taken (default: its own).",
    ),
]
Upload = Annotated[int, typer.Option(min=1, help="The most bytes of all pictures that are sent.")]
Level = Annotated[str, typer.Option(help="debug, info, warning or error.")]
Format = Annotated[str, typer.Option("--format", help="What runs stations: openvino or onnx (ONNX Runtime).")]


def studio(
    allow: Allow = None,
    work: Work = Path("differnet-studio"),
    host: serving.Host = "127.0.0.1",
    port: serving.Port = 8100,
    keys: serving.Keys = None,
    without_keys: serving.WithoutKeys = False,
    allow_host: serving.AllowHost = None,
    allow_origin: serving.AllowOrigin = None,
    record: Record = None,
    store_password_file: options.StorePasswordFile = None,
    images: serving.Images = None,
    preset: options.Preset = "default",
    seed: options.Seed = 0,
    settings: options.Set = None,
    weights: options.Weights = None,
    form: Format = "openvino",
    max_image_bytes: serving.MaxImage = 64 * 2**20,
    max_upload_bytes: Upload = 20 * 2**30,
    timeout: serving.Timeout = 60,
    log_level: Level = "warning",
) -> None:
    """Train in a browser: choose good pictures, fit, look at what was found, and judge live."""
    options.check_one_of("--log-level", log_level, ("debug", "info", "warning", "error"))
    options.check_one_of("--format", form, ("openvino", "onnx"))
    with guarded(), serve.with_extra("studio"):
        from differnet.service.http import limits, server
        from differnet.studio.http.server import run
        from differnet.studio.studio import Settings

        names: dict[str, Any] = {"hosts": (*(allow_host or ()), host), "origins": tuple(allow_origin or ())}
        base = limits.Limits(
            image_bytes=max_image_bytes, timeout=timeout, keys=serve.keys_of(keys), keep="all"
        )
        bounds = replace(base, **names)
        server.check_exposure(host, bounds, without_keys)
        asked = options.asked_for(None, settings)
        options.settings_of(preset, settings)  # refuses at once what cannot be
        if record is not None:
            record = options.with_password(record, store_password_file)
        elif images is not None:
            raise ConfigError("--images FOLDER belongs to --record STORE, which is missing")
        given: dict[str, Any] = {"preset": preset, "settings": asked, "seed": seed, "weights": weights}
        given |= {"form": form, "record": record, "images": images, "upload_bytes": max_upload_bytes}
        wanted = Settings(work, tuple(allow or [Path()]), **given)
        run(wanted, bounds, server.bind(host, port), log_level)
