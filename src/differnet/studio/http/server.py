"""Run a studio until it is told to stop; the job that runs ends with it, and live judging loses nothing."""

from __future__ import annotations

import socket
import sys
from types import FrameType

import uvicorn

from differnet.service.http.limits import Limits
from differnet.service.http.server import address, config_of, make_ready
from differnet.service.http.telemetry import announce
from differnet.studio.http.app import create_app
from differnet.studio.studio import Settings, Studio


class Server(uvicorn.Server):
    """Tells live judging that all is about to stop."""

    def __init__(self, config: uvicorn.Config, studio: Studio) -> None:
        super().__init__(config)
        self._studio = studio

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Let listeners go, then do as usual."""
        self._studio.live.close_soon()
        super().handle_exit(sig, frame)


def server(studio: Studio, level: str = "warning") -> Server:
    """Return a server that is ready to run."""
    return Server(config_of(create_app(studio), studio.limits, level), studio)


def run(settings: Settings, limits: Limits, opened: socket.socket, level: str = "warning") -> None:
    """Serve a studio until SIGTERM or SIGINT."""
    studio = Studio(settings, limits)
    make_ready(level)
    where = address(opened)
    announce("serving", address=where, work=str(studio.folder.path), keys=len(limits.keys))
    if sys.stderr.isatty():
        sys.stderr.write(f"The studio: {where}/   (Ctrl-C stops)\n")
    server(studio, level).run(sockets=[opened])
