"""What the studio is made of, each by itself: places, names, uploads, findings, the time left, its folder."""

from __future__ import annotations

import asyncio
import json

import numpy as np
import pytest

pytest.importorskip("fastapi", reason='pip install "differnet[studio]"')

from PIL import Image

from differnet.errors import ConfigError
from differnet.studio.findings import findings_of
from differnet.studio.pictures import Picture, id_of, look
from differnet.studio.places import Places
from differnet.studio.project import Folder, Project, Source, with_source
from differnet.studio.time_left import Clock, expected
from differnet.studio.uploads import TooLargeError, Uploads, safe_name
from support.tiny import good_image, save


def test_places_hold_what_is_below_and_no_link_leads_out(tmp_path):
    (tmp_path / "in" / "below").mkdir(parents=True)
    (tmp_path / "out").mkdir()
    (tmp_path / "in" / "way-out").symlink_to(tmp_path / "out")
    places = Places([tmp_path / "in"])
    assert places.folder("below") == tmp_path / "in" / "below"
    assert places.listing(".").folders == ("below",)
    assert places.listing(".").parent is None
    assert places.listing("below").parent == str(tmp_path / "in")
    for text in ("..", "below/../..", str(tmp_path / "out"), "way-out", "/", "/etc"):
        with pytest.raises(ConfigError, match="outside of the folders"):
            places.folder(text)
    for text in ("", "a\0b"):
        with pytest.raises(ConfigError, match="no path was given"):
            places.folder(text)
    with pytest.raises(ConfigError, match="no such folder"):
        places.folder("missing")


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("../../etc/passwd", "passwd"),
        ("..", "picture"),
        ("a/../.b.png", "b.png"),
        ("Teil ü.png", "Teil ü.png"),
        ("x\0y\n.png", "x_y_.png"),
        ("a" * 300 + ".png", "a" * 116 + ".png"),
    ],
)
def test_names_of_what_is_sent_mean_no_folder(given, wanted):
    assert safe_name(given) == wanted


def sent(uploads, folder, name, *pieces, breaks=False):
    async def chunks():
        for piece in pieces:
            yield piece
        if breaks:
            raise ConnectionResetError

    return asyncio.run(uploads.receive(chunks(), folder, name))


def test_uploads_are_whole_or_not_there(tmp_path):
    uploads, folder = Uploads(10, 25, tmp_path), tmp_path / "to"
    assert sent(uploads, folder, "a.png", b"12345", b"678").read_bytes() == b"12345678"
    assert sent(uploads, folder, "a.png", b"other").name == "a (2).png"
    with pytest.raises(ConnectionResetError):
        sent(uploads, folder, "b.png", b"123", breaks=True)
    with pytest.raises(TooLargeError, match="more than the 10 bytes"):
        sent(uploads, folder, "c.png", b"123456", b"789012")
    with pytest.raises(ConfigError, match="is empty"):
        sent(uploads, folder, "d.png")
    assert (
        sent(uploads, folder, "e.png", b"1234567").stat().st_size == 7
    )  # 20 of 25 are held: none of the failed
    with pytest.raises(TooLargeError, match="more than the 25 bytes"):
        sent(uploads, folder, "f.png", b"123456")
    assert sorted(path.name for path in folder.iterdir()) == ["a (2).png", "a.png", "e.png"]


def test_nothing_of_an_upload_is_left_from_before(tmp_path):
    (tmp_path / "to").mkdir()
    (tmp_path / "to" / ".0123.part").write_bytes(b"half")
    uploads = Uploads(10, 10, tmp_path)
    assert list((tmp_path / "to").iterdir()) == []
    assert sent(uploads, tmp_path / "to", "a.png", b"0123456789").exists()


def chosen(folder, images):
    found = []
    for name, pixels in images.items():
        save(folder / name, pixels)
        path = folder / name
        found.append(Picture(id_of(path, "good"), path, "good", name, seen=look(path)))
    return found


def test_what_is_unlike_the_others_is_found(tmp_path):
    images = {f"p{i}.png": good_image(i) for i in range(12)}
    images["copy.png"] = good_image(3)
    images["large.png"] = good_image(20, 80)
    images["colour.png"] = good_image(21) * np.array([1, 0.9, 0.8])
    images["dark.png"] = good_image(22) // 4
    images["blurred.png"] = np.asarray(Image.fromarray(good_image(23)).resize((8, 8)).resize((64, 64)))
    pictures = chosen(tmp_path, {name: np.asarray(one, np.uint8) for name, one in images.items()})
    found, names = findings_of(pictures), {one.id: one.name for one in pictures}
    assert found.count == 17
    assert found.sizes == ((64, 64, 16), (80, 80, 1))
    assert {names[one]: names[of] for one, of in found.copy_of.items()} == {"copy.png": "p3.png"}
    odd = {names[one]: reasons for one, reasons in found.odd.items()}
    assert set(odd) == {"large.png", "colour.png", "dark.png", "blurred.png"}
    assert "size" in odd["large.png"]
    assert odd["colour.png"] == ("colour",)
    assert "brightness" in odd["dark.png"]
    assert odd["blurred.png"] == ("sharpness",)
    assert (
        found.sisters[id_of(tmp_path / "copy.png", "good")]
        == found.sisters[id_of(tmp_path / "p3.png", "good")]
    )


def test_pictures_that_all_differ_are_not_unlike_each_other(tmp_path):
    images = {f"p{i}.png": good_image(i, 40 + 2 * i) for i in range(12)}
    assert "size" not in {
        reason for one in findings_of(chosen(tmp_path, images)).odd.values() for reason in one
    }
    assert findings_of([]).count == 0


def test_the_time_left_follows_the_pace():
    clock = Clock({"starting": 4.0, "describing": 10.0, "fitting": 30.0}, now=100.0)
    assert clock.left(100.0) == 44.0
    assert clock.left(103.0) == 41.0
    clock.hear("describing", 0, 10, 108.0)  # twice as slow as planned
    assert clock.left(108.0) == pytest.approx(80.0)
    clock.hear("describing", 5, 10, 118.0)
    assert clock.left(118.0) == pytest.approx(10.0 + 60.0)
    clock.hear("something else", 1, 2, 128.0)
    clock.hear("fitting", 3, 30, 130.0)
    clock.hear("fitting", 15, 30, 140.0)
    assert clock.left(140.0) == pytest.approx(10.0)
    assert clock.left(500.0) == pytest.approx(370.0)  # as long again as it took for the first half
    clock.hear("fitting", 30, 30, 501.0)
    assert clock.left(502.0) == 0.0
    assert clock.taken(502.0) == {
        "starting": 8.0,
        "describing": 20.0,
        "something else": 2.0,
        "fitting": 372.0,
    }


def test_another_fit_is_expected_to_take_what_the_last_took():
    before = {"starting": 3.0, "describing training images": 20.0, "fitting the flow": 50.0}
    assert expected(200, before, of=100) == {
        "starting": 3.0,
        "describing training images": 40.0,
        "fitting the flow": 50.0,
    }


def test_a_folder_has_one_studio_and_keeps_what_was_chosen(tmp_path):
    folder = Folder(tmp_path / "work")
    with pytest.raises(ConfigError, match="another studio works in this folder"):
        Folder(tmp_path / "work")
    project = with_source(Project(left_out=frozenset({"b", "a"}), fit=3), Source("/x", "good"))
    folder.write(project)
    folder.job(4, is_done=False).mkdir(parents=True)
    (folder.job(4, is_done=False) / "model.safetensors").write_bytes(b"half")
    folder.close()
    again = Folder(tmp_path / "work")
    assert again.read() == project
    assert [one.name for one in again.broken_off] == ["00004.part"]
    assert list(again.jobs.iterdir()) == []
    (tmp_path / "work" / "studio.json").write_text(json.dumps({"sources": 7}))
    with pytest.raises(ConfigError, match="not what a studio has kept"):
        again.read()
    again.close()
