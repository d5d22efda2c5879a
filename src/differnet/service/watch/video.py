"""The frames of a video file, each n-th once, and those of a camera, as many as can be judged."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np

from differnet.data.pixels import Pixels, check_size
from differnet.errors import ImageError, MissingExtraError
from differnet.service.delivery.addresses import said, without_password
from differnet.service.record.inspection import Tell
from differnet.service.watch.insist import insist
from differnet.service.watch.sources import Arrival, Memory, digest_of, writable

_TIMEOUT = 10.0  # seconds without data after which a camera is lost
_PAUSES = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0)  # seconds before a lost camera is tried again, the last for ever
_TELL_EVERY = 30.0  # seconds between two words on dropped frames
_TICK = timedelta(microseconds=1)


class Video:
    """Each ``every``-th frame of a video file, numbered from 0; those that were seen before are passed over.

    Frames are decoded from the beginning, since their numbers follow from nothing else, and those before the last that
    was judged are thrown away undrawn. Raises :class:`MissingExtraError` without PyAV.
    """

    def __init__(self, path: Path, memory: Memory, tell: Tell, every: int = 1) -> None:
        self.path, self.memory, self.tell, self.every = path, memory, tell, every
        self.left: int | None = None
        _av()

    def arrivals(self, stop: Event, once: bool) -> Iterator[Arrival]:  # noqa: ARG002  a video ends by itself
        """Yield the frames that were not seen before."""
        digest = digest_of(self.path, stop)
        if stop.is_set():
            return
        name, index, end = writable(self.path.name), -1, 0.0
        try:
            with _opened(str(self.path.resolve()), {"protocol_whitelist": "file"}) as container:
                self.left = max(0, container.streams.video[0].frames // self.every)
                for index, frame in enumerate(_frames(container, self._lost)):
                    if stop.is_set():
                        return
                    if index % self.every == 0:
                        key = f"video {digest}#{index}"
                        self.left = max(0, self.left - 1)
                        if not self._is_seen(key, stop):
                            yield _arrival(key, f"{name}#{index}", frame)
                    end = frame.time or end
                self._check_end(container, end)
        except ImageError as error:
            key = f"video {digest}#after {index}"
            if not self._is_seen(key, stop):
                yield Arrival(key=key, name=name, digest=digest, error=f"{self.path}: {error}")
        finally:
            self.left = 0

    def _is_seen(self, key: str, stop: Event) -> bool:
        return insist(lambda: self.memory.seen(key), stop, self.tell)

    def _check_end(self, container: Any, end: float) -> None:
        """Say when the last frame comes long before the time at which the file says that it ends."""
        stream = container.streams.video[0]
        said_end = stream.duration * stream.time_base if stream.duration else (container.duration or 0) / 1e6
        if said_end - end > max(1.0, 5 / (stream.average_rate or 25)):
            self.tell("damaged", f"{self.path}: the last frame is at {end:.1f} s of {float(said_end):.1f} s")

    def _lost(self, error: Exception) -> None:
        self.tell("damaged", f"{self.path}: a part cannot be decoded and is passed over: {said(error)}")


class Camera:
    """The frames of a camera: each ``every``-th, or the newest of them when the judge was busy meanwhile.

    A camera that is lost is tried again, after pauses that grow to half a minute. Frames are known by the time at which
    they were received. Raises :class:`MissingExtraError` without PyAV.
    """

    left = None

    def __init__(
        self, url: str, label: str, tell: Tell, every: int = 1, pauses: tuple[float, ...] = _PAUSES
    ) -> None:
        self.url, self.label, self.tell, self.every, self.pauses = url, label, tell, every, pauses
        self.taken = self.dropped = 0
        self._newest: tuple[datetime, Any] | None = None
        self._changed = threading.Condition()
        self._over, self._ended = Event(), False
        self.is_unreachable = False  # with ``once``: whether no frame could be had
        _av()

    def arrivals(self, stop: Event, once: bool) -> Iterator[Arrival]:
        """Yield frames until ``stop``; ``once``: a single one."""
        reader = threading.Thread(target=self._read, args=(once,), name="camera", daemon=True)
        reader.start()
        said_at, said_of = time.monotonic(), 0
        try:
            while not stop.is_set():
                found = self._take(0.5)
                if found is not None:
                    at, frame = found
                    text = at.isoformat(timespec="microseconds")
                    yield _arrival(f"camera {self.label}@{text}", f"{self.label}@{text}", frame, at)
                    if once:
                        return
                elif self._ended:
                    return
                if self.dropped > said_of and time.monotonic() - said_at >= _TELL_EVERY:
                    self._tell_dropped()
                    said_at, said_of = time.monotonic(), self.dropped
        finally:
            self._over.set()
            reader.join(2.0)
            if self.dropped > said_of:
                self._tell_dropped()

    def _tell_dropped(self) -> None:
        self.tell(
            "dropped",
            f"{self.dropped} frames dropped so far, {self.taken} judged: the camera is faster than the judge",
        )

    def _take(self, seconds: float) -> tuple[datetime, Any] | None:
        with self._changed:
            if self._newest is None:
                self._changed.wait(seconds)
            found, self._newest = self._newest, None
            self.taken += found is not None
        return found

    def _put(self, frame: Any, at: datetime) -> None:
        with self._changed:
            self.dropped += self._newest is not None
            self._newest = at, frame
            self._changed.notify()

    def _read(self, once: bool) -> None:
        """Keep the newest frame until it is over; ``once``: give up when the camera cannot be reached."""
        failures, count, last = 0, 0, datetime.min.replace(tzinfo=timezone.utc)
        while not self._over.is_set():
            try:
                with _opened(self.url, _camera_options(self.url)) as container:
                    for frame in _frames(container, lambda error: None):
                        if self._over.is_set():
                            return
                        if failures:
                            self.tell("connected", f"{without_password(self.url)}: is there again")
                        failures = 0
                        if count % self.every == 0:
                            last = max(datetime.now(timezone.utc), last + _TICK)
                            self._put(frame, last)
                        count += 1
                reason = "the stream ended"
            except ImageError as error:
                reason = str(error)
            if once:
                break
            pause = self.pauses[min(failures, len(self.pauses) - 1)]
            failures += 1
            self.tell("reconnect", f"{without_password(self.url)}: {reason}; trying again in {pause:g} s")
            self._over.wait(pause)
        if once and not self.taken and self._newest is None and not self._over.is_set():
            self.is_unreachable = True
            self.tell("unreachable", f"{without_password(self.url)}: {reason}")
        self._ended = True
        with self._changed:
            self._changed.notify()


@contextmanager
def _opened(place: str, options: dict[str, str]) -> Iterator[Any]:
    """Open a file or stream that has pictures; raises :class:`ImageError` for anything else, also inside the block."""
    av = _av()
    form = "v4l2" if place.startswith("/dev/video") else None
    try:
        with av.open(place, format=form, options=options, timeout=(_TIMEOUT, _TIMEOUT)) as container:
            if not container.streams.video:
                raise ImageError("has no pictures")
            yield container
    except (OSError, av.FFmpegError, ValueError) as error:
        if isinstance(error, ImageError):
            raise
        raise ImageError(said(error)) from error


def _frames(container: Any, lost: Any) -> Iterator[Any]:
    """Yield the frames in order; packets that cannot be decoded are passed over and given to ``lost``."""
    av = _av()
    stream = container.streams.video[0]
    stream.thread_type = "AUTO"
    for packet in container.demux(stream):
        try:
            yield from packet.decode()
        except av.error.InvalidDataError as error:
            lost(error)
        except av.error.EOFError:
            return


def _arrival(key: str, name: str, frame: Any, at: datetime | None = None) -> Arrival:
    try:
        check_size(frame.width, frame.height, name)
        pixels = _upright(frame)
    except (ImageError, ValueError) as error:
        digest = hashlib.sha256(b"").hexdigest()
        return Arrival(key=key, name=name, digest=digest, error=said(error), time=at)
    digest = hashlib.sha256(pixels.tobytes()).hexdigest()
    return Arrival(key=key, name=name, digest=digest, pixels=pixels, time=at)


def _upright(frame: Any) -> Pixels:
    """Return a frame as uint8 RGB (H, W, 3), turned as a player would show it."""
    pixels = np.rot90(frame.to_ndarray(format="rgb24"), round(frame.rotation / 90))
    return np.ascontiguousarray(pixels, dtype=np.uint8)


def _camera_options(url: str) -> dict[str, str]:
    return {"rtsp_transport": "tcp"} if url.lower().startswith("rtsp") else {}


def _av() -> Any:
    try:
        import av
    except ImportError as error:
        raise MissingExtraError("videos and cameras need PyAV: pip install 'differnet[watch]'") from error
    return av
