"""The commands of the service: serve, make a key, take the confirmed good images out."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from differnet.cli.console import err, guarded, out
from differnet.cli.options import StorePasswordFile, check_one_of, refuse_password, with_password
from differnet.cli.serving.options import Images, ServeOptions, with_options
from differnet.errors import ConfigError, counted, warn

if TYPE_CHECKING:
    from differnet.service.http.access.roles import Caller
    from differnet.service.http.limits import Limits
    from differnet.service.http.service import Service


@contextmanager
def with_extra(extra: str = "serve") -> Iterator[None]:
    """Say by which command a missing package is had."""
    try:
        yield
    except ModuleNotFoundError as error:
        from differnet.errors import DifferNetError, MissingExtraError

        if isinstance(error, DifferNetError) or (error.name or "").startswith("differnet"):
            raise
        raise MissingExtraError(
            f"the service needs {error.name}: pip install 'differnet[{extra}]'"
        ) from error


@with_options
def serve(options: ServeOptions) -> None:
    """Serve models over HTTP, with a page for operators and a record of every inspection."""
    check_one_of("--keep-images", options.keep_images, ("none", "flagged", "all"))
    check_one_of("--log-level", options.log_level, ("debug", "info", "warning", "error"))
    with guarded(), with_extra():
        from differnet.service.http import server

        bounds = _limits(options)
        found = server.named(options.folders or [], options.name or [], options.models is not None)
        server.check_exposure(options.host, bounds, options.without_keys)
        tls = server.Tls.read(options.tls_cert, options.tls_key)
        url = with_password(options.store, options.store_password_file)
        opened = server.bind(options.host, options.port)
        anew = options.forget_rates or [], options.models, options.forget_versions or []
        service = server.build(found, url, options.images, options.host, bounds, *anew)
        _tell_others(service, options, opened.getsockname()[1])
        server.run(service, opened, options.log_level, tls)


def _limits(options: ServeOptions) -> Limits:
    from differnet.service.http import limits

    parts = limits.of_parts(
        options.audit_share,
        options.part_pattern,
        options.defect_class or [],
        options.shift or [],
        options.time_zone,
    )
    return limits.Limits(
        options.queue,
        options.workers,
        options.max_image_bytes,
        options.max_pixels,
        timeout=options.timeout,
        keys=keys_of(options.keys),
        keep=cast(Any, options.keep_images),
        max_age_days=options.max_age_days,
        max_bytes=options.max_bytes,
        hosts=tuple(options.allow_host or ()),
        origins=tuple(options.allow_origin or ()),
        model_bytes=options.max_model_bytes,
        **parts,
    )


def _tell_others(service: Service, options: ServeOptions, port: int) -> None:
    """Tell others of what is recorded, where that is wanted."""
    from differnet.service.delivery.outgoing import Wanted

    told = options.webhook, options.webhook_key, options.mqtt, options.modbus
    place = hashlib.sha256(f"{platform.node()} {port}".encode()).hexdigest()
    service.tell_others(Wanted(*told, place[:12]), options.resend)  # brokers take 23 characters of a name


def keys_of(keys: Path | None) -> dict[str, Caller]:
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
    with guarded(), with_extra():
        from differnet.service.record.figures.export import copy_good
        from differnet.service.record.store import Store as Record

        place = url.removeprefix("sqlite:///")
        if place != url and not Path(place).is_file():  # which opening it would make
            raise ConfigError(f"{place}: no such record; the --store of differnet serve or watch was wanted")
        record = Record.open(with_password(url, store_password_file), images)
        try:
            count = copy_good(record, model, target)
        finally:
            record.close()
        out.print(f"{counted(count, 'good image')} in {target}", markup=False)
