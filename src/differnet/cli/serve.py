"""The commands of the service: serve, make a key, take the confirmed good images out."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from differnet.cli.console import err, guarded, out
from differnet.cli.line.options import Modbus, Mqtt, Resend, Webhook, WebhookKey
from differnet.cli.options import Store, StorePasswordFile, refuse_password, with_password
from differnet.cli.settings_file import Settings
from differnet.errors import ConfigError, counted, warn

if TYPE_CHECKING:
    from differnet.service.http.access.roles import Caller

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
ForgetRates = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME", help="Judge by the rates of the folder again; repeatable."),
]
LogLevel = Annotated[str, typer.Option(help="debug, info, warning or error.")]
_DEFAULT = "sqlite:///differnet.sqlite3"


@contextmanager
def _with_extra() -> Iterator[None]:
    """Say by which command a missing package is had."""
    try:
        yield
    except ModuleNotFoundError as error:
        from differnet.errors import DifferNetError, MissingExtraError

        if isinstance(error, DifferNetError) or (error.name or "").startswith("differnet"):
            raise
        raise MissingExtraError(f"the service needs {error.name}: pip install 'differnet[serve]'") from error


def serve(
    folders: Folders = None,
    name: Names = None,
    host: Host = "127.0.0.1",
    port: Port = 8000,
    store: Store = _DEFAULT,
    store_password_file: StorePasswordFile = None,
    images: Images = None,
    keys: Keys = None,
    without_keys: WithoutKeys = False,
    allow_host: AllowHost = None,
    allow_origin: AllowOrigin = None,
    tls_cert: TlsCert = None,
    tls_key: TlsKey = None,
    queue: Queue = 64,
    workers: Workers = 2,
    keep_images: KeepImages = "flagged",
    max_age_days: MaxAge = None,
    max_bytes: MaxBytes = None,
    max_image_bytes: MaxImage = 32 * 2**20,
    max_pixels: MaxPixels = 50_000_000,
    timeout: Timeout = 30,
    forget_rates: ForgetRates = None,
    webhook: Webhook = None,
    webhook_key: WebhookKey = None,
    mqtt: Mqtt = None,
    resend: Resend = False,
    modbus: Modbus = None,
    log_level: LogLevel = "info",
    settings: Settings = None,  # noqa: ARG001  its callback has read it
) -> None:
    """Serve models over HTTP, with a page for operators and a record of every inspection."""
    _check_one_of("--keep-images", keep_images, ("none", "flagged", "all"))
    _check_one_of("--log-level", log_level, ("debug", "info", "warning", "error"))
    with guarded(), _with_extra():
        from differnet.service.http import server

        sizes = queue, workers, max_image_bytes, max_pixels, timeout
        bounds = _bounds(sizes, keys, (keep_images, max_age_days, max_bytes), (allow_host, allow_origin))
        found = server.named(folders or [], name or [])
        server.check_exposure(host, bounds, without_keys)
        tls, url = server.Tls.read(tls_cert, tls_key), with_password(store, store_password_file)
        opened = server.bind(host, port)
        service = server.build(found, url, images, host, bounds, forget_rates or [])
        _tell_others(service, (webhook, webhook_key, mqtt, modbus), opened.getsockname()[1], resend)
        server.run(service, opened, log_level, tls)


def _bounds(sizes: Any, keys: Path | None, kept: Any, names: Any) -> Any:
    """Return the limits of a service."""
    from differnet.service.http.limits import Limits

    queue, workers, image_bytes, pixels, timeout = sizes
    keep, days, most = kept
    hosts, origins = (tuple(one or ()) for one in names)
    bounds = Limits(queue, workers, image_bytes, pixels, timeout=timeout, keys=_read(keys))
    bounds = replace(bounds, keep=keep, max_age_days=days, max_bytes=most)
    return replace(bounds, hosts=hosts, origins=origins)


def _tell_others(service: Any, wanted: Any, port: int, resend: bool) -> None:
    """Tell others of what is recorded, where that is wanted."""
    from differnet.service.delivery.outgoing import Wanted

    webhook, key, mqtt, modbus = wanted
    client = hashlib.sha256(f"{platform.node()} {port}".encode()).hexdigest()[
        :12
    ]  # brokers take 23 characters
    service.tell_others(Wanted(webhook, key, mqtt, modbus, client), resend)


def _read(keys: Path | None) -> dict[str, Caller]:
    """Return whose keys the file has, by their digests; without a file nobody's."""
    from differnet.service.http.access.keys import read

    if keys is None:
        return {}
    found, without_roles = read(keys)
    if without_roles:
        names = ", ".join(without_roles)
        warn(
            f"{keys}: keys without roles may do everything, as before: {names}; roles=send and the like bounds them"
        )
    return found


def _check_one_of(option: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise typer.BadParameter(f"{option} {value}: {', '.join(known[:-1])} or {known[-1]} was wanted")


def make_key(
    owner: Annotated[str, typer.Argument(help="Whose key it is, for the log.")],
    role: Annotated[
        list[str] | None,
        typer.Option(help="What it may do: send, confirm, engineer or admin (the default); repeatable."),
    ] = None,
) -> None:
    """Make an API key: the line for the file of --keys on stdout, the key itself once on stderr."""
    with guarded():
        from differnet.service.http.access import keys

        roles, (key, digest) = keys.checked_roles(role or ["admin"]), keys.make()
        line = keys.line_of(digest, owner, roles)
        err.print(f"Key (shown this once): {key}", markup=False)
        out.print(line, markup=False)


def export_good(
    url: Annotated[str, typer.Argument(metavar="STORE", callback=refuse_password, help="URL of the record.")],
    model: Annotated[str, typer.Option(help="Name of the model.")],
    target: Annotated[
        Path, typer.Option("--to", help="Folder to write; images that are there already stay.")
    ],
    store_password_file: StorePasswordFile = None,
    images: Images = None,
) -> None:
    """Copy the images that operators confirmed as good into a folder, to calibrate or fit anew with."""
    with guarded(), _with_extra():
        from differnet.data.files import write_whole
        from differnet.service.record.store import Store as Record

        place = url.removeprefix("sqlite:///")
        if place != url and not Path(place).is_file():  # which opening it would make
            raise ConfigError(f"{place}: no such record; the --store of differnet serve or watch was wanted")
        record, count = Record.open(with_password(url, store_password_file), images), 0
        try:
            for file_name, path in record.good_images(model):
                if not (target / file_name).exists():
                    write_whole(target / file_name, path.read_bytes())
                count += 1
        finally:
            record.close()
        out.print(f"{counted(count, 'good image')} in {target}", markup=False)
