"""Run a service until it is told to stop, and stop without losing anything that was accepted."""

from __future__ import annotations

import ipaddress
import math
import os
import re
import signal
import socket
import ssl
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType

import uvicorn

from differnet.errors import ConfigError
from differnet.runtime.threads import limit as thread_limit
from differnet.service.http.app import create_app
from differnet.service.http.connection.deadlines import with_limits
from differnet.service.http.limits import Limits
from differnet.service.http.model import open_models
from differnet.service.http.service import Service
from differnet.service.http.telemetry import announce, set_up
from differnet.service.record.changes import By
from differnet.service.record.store import Store

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_CONNECTIONS = 1000


class Server(uvicorn.Server):
    """Tells the service that it is about to stop, so that nobody listens for ever."""

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self._service = service

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Let listeners go, then do as usual."""
        self._service.is_stopping = True
        self._service.hub.close_soon()
        super().handle_exit(sig, frame)


@dataclass(frozen=True)
class Tls:
    """The files of a certificate, with its chain, and of its private key."""

    certificate: Path
    key: Path

    @classmethod
    def read(cls, certificate: Path | None, key: Path | None) -> Tls | None:
        """Return them, nothing where there are none; raises :class:`ConfigError` for what cannot be served with."""
        if certificate is None and key is None:
            return None
        if certificate is None or key is None:
            raise ConfigError("--tls-cert FILE and --tls-key FILE belong together; one of them is missing")
        if key.stat().st_mode & 0o077 and os.name == "posix":
            raise ConfigError(f"{key}: others may read the private key; chmod 600 {key}")
        try:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate, key, password=_no_password)
        except (ssl.SSLError, ValueError) as error:
            raise ConfigError(
                f"{certificate}, {key}: no certificate with its key, without a password: {error}"
            ) from error
        return cls(certificate, key)


def _no_password() -> str:
    raise ValueError("the key has a password")


def named(folders: Sequence[Path], names: Sequence[str]) -> dict[str, str]:
    """Return folders by the names of their models: that of the folder, or as ``NAME=FOLDER`` says.

    Raises :class:`ConfigError` for a name that two have, for one that does not fit into an address, and for none.
    """
    pairs = [(folder.resolve().name, str(folder)) for folder in folders]
    for text in names:
        name, equals, folder = text.partition("=")
        if not equals:
            raise ConfigError(f"--name {text}: NAME=FOLDER was wanted")
        pairs.append((name, folder))
    found: dict[str, str] = {}
    for name, folder in pairs:
        if not _NAME.fullmatch(name):
            raise ConfigError(
                f"{name!r}: letters, digits, '.', '_' and '-' make the name of a model; --name NAME={folder}"
            )
        if name in found:
            raise ConfigError(f"{name}: the name of two models; --name NAME=FOLDER gives one another")
        found[name] = folder
    if not found:
        raise ConfigError("no model; give the folder of one that 'differnet export' wrote")
    return found


def check_exposure(host: str, limits: Limits, without_keys: bool) -> None:
    """Refuse to let the whole network in without keys, unless that is wanted: :class:`ConfigError`."""
    if not limits.keys and not without_keys and not is_loopback(host):
        raise ConfigError(
            f"--host {host} lets others in than this machine, and no keys are asked for: give --keys FILE, or "
            "--without-keys where everybody on the network may judge, look and move rates"
        )


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a host."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def build(
    folders: dict[str, str],
    url: str,
    images: Path | None,
    host: str,
    limits: Limits,
    forget: Sequence[str] = (),
) -> Service:
    """Open the record and load the models; ``forget``: those whose rates are those of the folder again."""
    for name in forget:
        if name not in folders:
            raise ConfigError(f"--forget-rates {name}: no such model; there are {', '.join(folders)}")
    store = Store.open(url, images)
    try:
        for name in forget:
            store.set_setting(name, None, by=By("--forget-rates"))
        threads = thread_limit() or max(1, (os.cpu_count() or 1) // limits.workers)
        audit = limits.audit_share, limits.part_pattern
        models = open_models(folders, store, limits.pixels, limits.keep, threads, *audit)
    except BaseException:
        store.close()
        raise
    return Service(models, store, replace(limits, hosts=(*limits.hosts, host)))


def bind(host: str, port: int) -> socket.socket:
    """Open the port, 0 for any that is free; raises :class:`OSError` that says which could not be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol is named because asyncio then sends at once; else an answer's body waits 40 ms behind its head.
    opened = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind((host, port))
    except OSError as error:
        opened.close()
        raise OSError(error.errno, f"cannot listen at {host}:{port}: {error.strerror}") from error
    return opened


def address(opened: socket.socket, tls: bool = False) -> str:
    """Return the URL at which a socket can be reached from this machine."""
    host, port = opened.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  it is replaced
    scheme = "https" if tls else "http"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def server(service: Service, level: str = "info", tls: Tls | None = None) -> Server:
    """Return a server that is ready to run."""
    files: dict[str, Path] = {"ssl_certfile": tls.certificate, "ssl_keyfile": tls.key} if tls else {}
    config = uvicorn.Config(
        create_app(service),
        log_config=None,
        log_level=level,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=15,
        limit_concurrency=_CONNECTIONS,
        backlog=1024,
        ws="none",
        http=with_limits(service.limits),
        timeout_graceful_shutdown=math.ceil(service.limits.timeout)
        + 1,  # by then all that was accepted is answered
        **files,  # type: ignore[arg-type]
    )
    return Server(config, service)


def run(service: Service, opened: socket.socket, level: str = "info", tls: Tls | None = None) -> None:
    """Serve until SIGTERM or SIGINT; then take no more, finish what was accepted, and return."""
    set_up(level)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)  # uvicorn raises them again when it has stopped
    _raise_open_files()
    where, keys = address(opened, tls is not None), len(service.limits.keys)
    announce("serving", address=where, models=list(service.models), keys=keys)
    if sys.stderr.isatty():
        sys.stderr.write(f"The page: {where}/   (Ctrl-C stops)\n")
    server(service, level, tls).run(sockets=[opened])


def _raise_open_files() -> None:
    """Ask for as many open files as there may be connections; the usual 1,024 would be all taken by those."""
    with suppress(ImportError, OSError, ValueError):
        import resource  # not on Windows

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = 4 * _CONNECTIONS if hard == resource.RLIM_INFINITY else min(4 * _CONNECTIONS, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
