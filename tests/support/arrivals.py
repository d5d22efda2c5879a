"""A memory of what arrived, and time limits, for tests of folders, videos and cameras."""

from __future__ import annotations

import io
import os
import threading
import time
from contextlib import contextmanager

import pytest

pytest.importorskip("watchfiles", reason='pip install "differnet[watch]"')

from PIL import Image

from differnet.service.watch.folder import Folder
from support.tiny import good_image

LIMIT = 20  # seconds that anything here may take


class Notes:
    """A memory and what was told, of one process after another."""

    def __init__(self):
        self.keys, self.files, self.told = [], {}, []

    def seen(self, key):
        return key in self.keys

    def stamps(self):
        return list(self.files.values())

    def remember(self, stamps, forget=()):
        for path in forget:
            self.files.pop(path, None)
        self.files |= {stamp.path: stamp for stamp in stamps}

    def tell(self, event, text):
        self.told.append((event, text))

    def record(self, arrival):
        assert arrival.key not in self.keys
        self.keys.append(arrival.key)
        if arrival.stamp is not None:
            self.remember([arrival.stamp])
        return arrival

    def folder(self, root, **settings):
        settings = {"settle": 0.2, "patience": 1.0} | settings
        return Folder(root, "line", self, self.tell, **settings)

    def once(self, root, **settings):
        """What a process finds that stops when nothing is left."""
        found = self.folder(root, **settings).arrivals(threading.Event(), True)
        return [self.record(arrival) for arrival in found]


@contextmanager
def running(notes, source):
    """Take what arrives in a thread; give the list that it grows."""
    stop, found, failed = threading.Event(), [], []

    def take():
        try:
            for arrival in source.arrivals(stop, False):
                found.append(notes.record(arrival))
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=take)
    thread.start()
    try:
        yield found
    finally:
        stop.set()
        thread.join(LIMIT)
        assert not thread.is_alive()
        if failed:
            raise failed[0]


def wait_for(what, limit=LIMIT):
    end = time.monotonic() + limit
    while not what():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


def png(index):
    buffer = io.BytesIO()
    Image.fromarray(good_image(index)).save(buffer, "png")
    return buffer.getvalue()


def age(path, seconds=100):
    then = time.time() - seconds
    os.utime(path, (then, then))
