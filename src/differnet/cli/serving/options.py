"""The options of ``serve``, as one value."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, get_type_hints

import typer

from differnet.cli.line.options import Modbus, Mqtt, Resend, Webhook, WebhookKey
from differnet.cli.options import AuditShare, PartPattern, Store, StorePasswordFile
from differnet.cli.settings_file import Settings

Images = Annotated[
    Path | None,
    typer.Option("--images", help="Folder of kept images (default: beside the file of the record)."),
]
Folders = Annotated[
    list[Path] | None,
    typer.Argument(
        envvar="DIFFERNET_SERVE_FOLDERS", help="Folders that 'differnet export' wrote, one a model."
    ),
]
Names = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME=FOLDER", help="A model by another name than its folder's."),
]
Host = Annotated[str, typer.Option(help="Address to listen at.")]
Port = Annotated[int, typer.Option(min=0, max=65535, help="Port; 0: any that is free.")]
Keys = Annotated[Path | None, typer.Option(help="File of the SHA-256 of API keys; see 'differnet make-key'.")]
WithoutKeys = Annotated[
    bool, typer.Option("--without-keys", help="Let everybody in, though others can reach --host.")
]
AllowOrigin = Annotated[
    list[str] | None,
    typer.Option(help="Origin of a reverse proxy that has the certificate, https://NAME; repeatable."),
]
TlsCert = Annotated[Path | None, typer.Option(help="Certificate (PEM, with its chain): serve HTTPS.")]
TlsKey = Annotated[Path | None, typer.Option(help="Private key of --tls-cert (PEM).")]
AllowHost = Annotated[
    list[str] | None,
    typer.Option(help="Name by which browsers and cameras call this machine; repeatable."),
]
Queue = Annotated[int, typer.Option(min=0, help="Requests that may wait; further ones get 429.")]
Workers = Annotated[int, typer.Option(min=1, help="Images judged at the same time.")]
KeepImages = Annotated[str, typer.Option(help="Of which inspections images are kept: none, flagged, all.")]
MaxAge = Annotated[float | None, typer.Option(min=0, help="Forget inspections that are older.")]
MaxBytes = Annotated[int | None, typer.Option(min=0, help="Forget the oldest images beyond that.")]
MaxImage = Annotated[int, typer.Option(min=1, help="The most bytes of an image.")]
MaxPixels = Annotated[int, typer.Option(min=1, help="The most pixels of an image.")]
Timeout = Annotated[float, typer.Option(min=0.1, help="Seconds to receive an image, and to judge it.")]
DefectClass = Annotated[
    list[str] | None,
    typer.Option(help="Kind of defect that operators may name; repeatable. Without any they write freely."),
]
ShiftStart = Annotated[
    list[str] | None,
    typer.Option("--shift", metavar="NAME=HH:MM", help="A shift and when it begins; repeatable."),
]
TimeZone = Annotated[
    str | None, typer.Option(help="Zone of --shift, e.g. Europe/Berlin (that of this machine unless given).")
]
ForgetRates = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME", help="Judge by the rates of the folder again; repeatable."),
]
Models = Annotated[
    Path | None,
    typer.Option("--models", help="Folder below which versions may lie that are put in place while it runs."),
]
MaxModel = Annotated[
    int, typer.Option("--max-model-bytes", min=1, help="The most bytes of an uploaded model.")
]
ForgetVersions = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME", help="Judge by the folder given, whichever version did; repeatable."),
]
LogLevel = Annotated[str, typer.Option(help="debug, info, warning or error.")]


@dataclass(frozen=True)
class ServeOptions:
    """What ``differnet serve`` was asked for."""

    folders: Folders = None
    name: Names = None
    host: Host = "127.0.0.1"
    port: Port = 8000
    store: Store = "sqlite:///differnet.sqlite3"
    store_password_file: StorePasswordFile = None
    images: Images = None
    keys: Keys = None
    without_keys: WithoutKeys = False
    allow_host: AllowHost = None
    allow_origin: AllowOrigin = None
    tls_cert: TlsCert = None
    tls_key: TlsKey = None
    queue: Queue = 64
    workers: Workers = 2
    keep_images: KeepImages = "flagged"
    max_age_days: MaxAge = None
    max_bytes: MaxBytes = None
    max_image_bytes: MaxImage = 32 * 2**20
    max_pixels: MaxPixels = 50_000_000
    timeout: Timeout = 30
    audit_share: AuditShare = 0.0
    part_pattern: PartPattern = None
    defect_class: DefectClass = None
    shift: ShiftStart = None
    time_zone: TimeZone = None
    forget_rates: ForgetRates = None
    webhook: Webhook = None
    webhook_key: WebhookKey = None
    mqtt: Mqtt = None
    resend: Resend = False
    modbus: Modbus = None
    models: Models = None
    max_model_bytes: MaxModel = 2**30
    forget_versions: ForgetVersions = None
    log_level: LogLevel = "info"
    settings: Settings = None


def with_options(command: Callable[[ServeOptions], None]) -> Callable[..., None]:
    """Return a command whose parameters are the fields of :class:`ServeOptions`, as Typer reads them."""

    def called(**given: object) -> None:
        command(ServeOptions(**given))  # type: ignore[arg-type]  # Typer has converted them

    hints = get_type_hints(ServeOptions, include_extras=True)
    parameters = [
        inspect.Parameter(
            one.name, inspect.Parameter.KEYWORD_ONLY, default=one.default, annotation=hints[one.name]
        )
        for one in fields(ServeOptions)
    ]
    called.__name__, called.__doc__ = command.__name__, command.__doc__
    called.__annotations__ = hints
    called.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return called
