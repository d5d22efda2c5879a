"""Sources of a watch: which kind one is, and how it is named."""

from __future__ import annotations

import pytest

pytest.importorskip("watchfiles", reason='pip install "differnet[watch]"')


from differnet.errors import ConfigError
from differnet.service.delivery.addresses import without_password
from differnet.service.watch.sources import Stamp, kind_of


def test_names():
    stamp = Stamp("a", 1, 2, 3, 4, "x")
    assert stamp == Stamp("a", 1, 2, 3, 4, "y")
    assert without_password("https://u:p@h/x?a=b@c") == "https://h/x?a=b@c"
    assert without_password("rtsp://admin:P@ssw0rd@10.0.0.7/stream") == "rtsp://10.0.0.7/stream"


def test_sources_are_told_apart(tmp_path):
    (tmp_path / "a.mp4").touch()
    assert kind_of(str(tmp_path)) == "folder"
    assert kind_of(str(tmp_path / "a.mp4")) == "video"
    assert {kind_of(url) for url in ("rtsp://x/y", "HTTP://x", "/dev/video0")} == {"camera"}
    with pytest.raises(ConfigError, match="no such folder or file"):
        kind_of(str(tmp_path / "none"))
