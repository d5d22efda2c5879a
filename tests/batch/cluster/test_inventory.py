"""Images wherever they are: folders, tar shards, Parquet tables and an object store give equal rows."""

from __future__ import annotations

import io
import json
import os
import socket
import subprocess
import sys
import tarfile
import time
import urllib.request
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from differnet.batch.cluster import inventory, locations, parts
from differnet.batch.cluster.loading import squares
from differnet.batch.cluster.worker import Judge
from differnet.batch.rows import inputs, judge_all
from differnet.config.sections import Views
from differnet.data.images import load
from differnet.data.square import to_square
from differnet.errors import ConfigError, DifferNetWarning, ImageError, MissingExtraError
from support.tiny import good_image, save

arrow = pytest.importorskip("pyarrow", reason="Parquet and object stores need pyarrow")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("tiles")
    for index in range(9):
        suffix = "jpg" if index % 2 else "png"
        save(root / f"line{index % 2}" / f"{index:02}.{suffix}", good_image(300 + index, 50 + index))
    (root / "line0" / "03-cut.png").write_bytes((root / "line0" / "02.png").read_bytes()[:400])
    (root / "line1" / "empty.jpg").write_bytes(b"")
    (root / "line1" / "words.jpg").write_bytes(b"no image")
    (root / "line1" / "gone.png").symlink_to(root / "nowhere")
    Image.fromarray(np.arange(64, dtype=np.uint16).reshape(8, 8) * 900).save(root / "deep.tif")
    return root


@pytest.fixture(scope="module")
def good_files(folder):
    return [path for path in sorted(folder.rglob("*")) if path.is_file()]


def local_rows(detector, paths):
    found = inputs(paths, "skip")
    return list(judge_all(detector, found, None, lambda *_: None, on_error="skip"))


def rows_of(detector, table):
    judge, canvas = Judge(detector), detector.describer.canvas
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        taken = squares(inventory.entries_in(table), canvas, detector.config.views)
        return [judge.row(one) for one in taken]


def in_a_tar(path, files, root, format=tarfile.PAX_FORMAT):
    with tarfile.open(path, "w", format=format) as tar:
        for file in files:
            tar.add(file, file.relative_to(root))
    return path


def without_paths(rows):
    return [{**row, "path": None, "error": row["error"] is not None} for row in rows]


def test_rows_of_a_folder_are_those_of_the_local_engine_bit_for_bit(detector, folder):
    missing = folder / "no-such-folder"
    wanted = local_rows(detector, [folder, missing])
    assert sum(row["error"] is not None for row in wanted) == 5
    table = inventory.table_of(inventory.entries_of([str(folder), str(missing)]))
    assert rows_of(detector, table) == wanted


def test_relative_paths_stay_relative_and_file_uris_become_paths(detector, folder, monkeypatch):
    monkeypatch.chdir(folder.parent)
    name = folder.name
    wanted = local_rows(detector, [Path(name)])
    table = inventory.table_of(inventory.entries_of([name]))
    assert all(Path(entry.place).is_absolute() for entry in inventory.entries_in(table))
    assert rows_of(detector, table) == wanted
    uri = inventory.entries_of([folder.as_uri()])
    assert [entry.name for entry in uri] == [row["path"] for row in local_rows(detector, [folder])]


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
def test_a_tar_shard_gives_the_rows_of_its_files(detector, folder, good_files, tmp_path, form):
    shard = in_a_tar(tmp_path / "shard-000.tar", good_files, folder, form)
    with tarfile.open(shard, "a") as tar:
        content = json.dumps({"label": 1}).encode()
        info = tarfile.TarInfo("line0/00.json")
        info.size = len(content)
        tar.addfile(info, io.BytesIO(content))
    table = inventory.table_of(inventory.entries_of([str(tmp_path)]))
    rows = rows_of(detector, table)
    assert [row["path"] for row in rows] == [f"{shard}::{file.relative_to(folder)}" for file in good_files]
    assert without_paths(rows) == without_paths(local_rows(detector, good_files))
    assert all(row["error"].startswith(row["path"]) for row in rows if row["error"])


def test_images_of_any_name_have_a_row_wherever_they_are_and_others_are_counted(folder, tmp_path):
    images = tmp_path / "images"
    images.mkdir()
    content = (folder / "line0" / "02.png").read_bytes()
    for name in ("a.png", "b.jfif", "c", "d.dat", "e.heic", "._f"):
        (images / name).write_bytes(content)
    for number in range(4):
        (images / f"{number}.json").write_text("{}")
    shard = in_a_tar(tmp_path / "shard.tar", sorted(images.iterdir()), images)
    with pytest.warns(
        DifferNetWarning, match="4 files are no images and are left out: 0.json, 1.json, 2.json, ..."
    ):
        found = inventory.entries_in(inventory.table_of(inventory.entries_of([str(images)])))
    assert [Path(one.name).name for one in found] == ["a.png", "b.jfif", "c", "d.dat", "e.heic"]
    with pytest.warns(
        DifferNetWarning, match="5 files in 1 tar are no images and are left out, such as .*::._f"
    ):
        table = inventory.table_of(inventory.entries_of([str(shard)]))
    packed = inventory.entries_in(table)
    assert [one.name.partition("::")[2] for one in packed] == ["a.png", "b.jfif", "c", "d.dat", "e.heic"]
    assert {one.kind for one in packed} == {"tar"}


def test_a_tar_that_breaks_off_says_so_and_loses_no_other_image(detector, folder, good_files, tmp_path):
    whole = in_a_tar(tmp_path / "whole.tar", good_files[:4], folder).read_bytes()
    entries = inventory.unpacked(inventory.entries_of([str(tmp_path / "whole.tar")])[0])
    cut = tmp_path / "cut.tar"
    cut.write_bytes(whole[: entries[3].at + 100])
    rows = rows_of(detector, inventory.table_of(inventory.entries_of([str(cut)])))
    assert [row["error"] is None for row in rows[:2]] == [True, True]
    assert rows[-1]["path"] == str(cut)
    assert "broken off" in rows[-1]["error"]
    squeezed = tmp_path / "squeezed.tar"
    with tarfile.open(squeezed, "w:gz") as tar:
        tar.add(good_files[0], "a.png")
    (row,) = rows_of(detector, inventory.table_of(inventory.entries_of([str(squeezed)])))
    assert "no uncompressed tar" in row["error"]


def test_a_shard_that_vanished_gives_a_reason_for_every_image(detector, folder, good_files, tmp_path):
    shard = in_a_tar(tmp_path / "shard.tar", good_files[:3], folder)
    table = inventory.table_of(inventory.entries_of([str(shard)]))
    shard.unlink()
    rows = rows_of(detector, table)
    assert len(rows) == 3
    assert all("no such file" in row["error"] for row in rows)


@pytest.mark.parametrize("as_struct", [False, True])
def test_a_parquet_table_gives_the_rows_of_its_files(detector, good_files, tmp_path, as_struct):
    cells = [{"bytes": f.read_bytes(), "path": f.name} if as_struct else f.read_bytes() for f in good_files]
    cells[2] = None
    path = tmp_path / "tiles.parquet"
    arrow.parquet.write_table(
        arrow.table({"number": range(len(cells)), "image": cells}), path, row_group_size=4
    )
    table = inventory.table_of(inventory.entries_of([str(path)]))
    wanted = without_paths(local_rows(detector, good_files))
    rows = rows_of(detector, table)
    assert [row["path"] for row in rows] == [f"{path}::{number}" for number in range(len(cells))]
    assert "NoneType in place of the bytes" in rows[2]["error"]
    assert without_paths(rows[:2] + rows[3:]) == wanted[:2] + wanted[3:]
    assert rows_of(detector, table.slice(3, 4)) == rows[3:7]  # a part that begins within a group of rows


def test_a_table_without_images_and_no_table_have_one_row_each(detector, tmp_path):
    arrow.parquet.write_table(arrow.table({"a": [1]}), tmp_path / "a.parquet")
    (tmp_path / "b.parquet").write_bytes(b"PAR1 no")
    rows = rows_of(detector, inventory.table_of(inventory.entries_of([str(tmp_path)])))
    assert "no column of images" in rows[0]["error"]
    assert "no Parquet table" in rows[1]["error"]


def test_names_that_are_no_utf8_can_be_scored_and_written(detector, tmp_path):
    path = tmp_path / os.fsdecode(b"t\xff.png")
    try:
        save(path, good_image(1))
    except OSError:
        pytest.skip("this file system wants UTF-8")
    (row,) = rows_of(detector, inventory.table_of(inventory.entries_of([str(path)])))
    assert row["error"] is None
    assert row["path"].endswith("t\\xff.png")
    assert parts.to_table([row]).to_pylist() == [row]


def test_parts_are_written_whole_and_what_is_missing_is_known(folder, tmp_path):
    entries = inventory.entries_of([str(folder)])
    run = parts.opened(str(tmp_path / "out"), entries, {"model": "a"}, 4, False)
    assert (run.images, len(run), run.length(3)) == (14, 4, 2)
    rows = [{"path": entry.name, "error": "x"} for entry in run.entries(3)]
    run.write(3, rows)
    assert run.missing() == [0, 1, 2]
    with pytest.raises(ConfigError, match="2 rows, where 4 were wanted"):
        run.write(0, rows)
    again = parts.opened(str(tmp_path / "out"), entries, {"model": "a"}, 4, True)
    assert again.missing() == [0, 1, 2]
    assert [e for n in range(4) for e in again.entries(n)] == [e for n in range(4) for e in run.entries(n)]


def test_a_run_goes_on_only_with_the_same_model_options_and_inputs(folder, tmp_path):
    out, entries = str(tmp_path / "out"), inventory.entries_of([str(folder)])
    parts.opened(out, entries, {"model": "a"}, 4, False)
    with pytest.raises(ConfigError, match="--resume"):
        parts.opened(out, entries, {"model": "a"}, 4, False)
    for made_with, some, size, what in (
        ({"model": "b"}, entries, 4, "model"),
        ({"model": "a"}, entries[1:], 4, "inputs"),
        ({"model": "a"}, entries, 5, "part"),
    ):
        with pytest.raises(ConfigError, match=f"another {what}"):
            parts.opened(out, some, made_with, size, True)
    (tmp_path / "strange").mkdir()
    (tmp_path / "strange" / "part-00000000.parquet").write_bytes(b"")
    with pytest.raises(ConfigError, match="parts without"):
        parts.opened(str(tmp_path / "strange"), entries, {}, 4, True)


def test_the_inventory_is_the_same_each_time_and_changes_with_a_size(folder, tmp_path):
    entries = inventory.entries_of([str(folder)])
    assert inventory.digest_of(entries) == inventory.digest_of(inventory.entries_of([str(folder)]))
    grown = [*entries[:-1], entries[-1]._replace(size=1)]
    assert inventory.digest_of(grown) != inventory.digest_of(entries)


def test_without_pyarrow_the_advice_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'differnet\[ray\]'"):
        locations.pyarrow_or_advice()


def test_a_scheme_that_nothing_reads_is_refused():
    with pytest.raises(ConfigError, match="s3://, gs:// and abfs://"):
        locations.listing("gopher://host/tiles")
    with pytest.raises(ConfigError, match="file of this machine"):
        locations.local("file://other/tiles")


@pytest.fixture(scope="module")
def bucket():
    """A bucket in moto's server, a process of its own that speaks S3, with credentials from the environment."""
    pytest.importorskip("moto", reason="the object store of this test is moto's")
    pytest.importorskip("flask", reason="moto's server needs moto[server]")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    names = {
        "AWS_ENDPOINT_URL": url, "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b",
        "AWS_DEFAULT_REGION": "eu-west-1",
    }  # fmt: skip
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(names)
    try:
        for _ in range(600):
            try:
                urllib.request.urlopen(url, timeout=1).close()
                break
            except OSError:
                time.sleep(0.1)
        place = "<LocationConstraint>eu-west-1</LocationConstraint>"
        body = f"<CreateBucketConfiguration>{place}</CreateBucketConfiguration>".encode()
        request = urllib.request.Request(f"{url}/tiles", method="PUT", data=body)  # noqa: S310
        urllib.request.urlopen(request, timeout=10).close()  # noqa: S310
        yield "s3://tiles"
    finally:
        server.terminate()
        server.wait(10)
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def test_an_object_store_gives_the_rows_of_the_folder(detector, folder, good_files, bucket, tmp_path):
    for file in good_files:
        locations.write(f"{bucket}/raw/{file.relative_to(folder)}", file.read_bytes())
    shard = in_a_tar(tmp_path / "s.tar", good_files, folder)
    locations.write(f"{bucket}/shards/s-0.tar", shard.read_bytes())
    wanted = local_rows(detector, good_files)
    rows = rows_of(detector, inventory.table_of(inventory.entries_of([f"{bucket}/raw/"])))
    assert [row["path"] for row in rows] == [f"{bucket}/raw/{f.relative_to(folder)}" for f in good_files]
    assert without_paths(rows) == without_paths(wanted)
    packed = rows_of(detector, inventory.table_of(inventory.entries_of([f"{bucket}/shards"])))
    assert without_paths(packed) == without_paths(wanted)
    (nothing,) = rows_of(detector, inventory.table_of(inventory.entries_of([f"{bucket}/nowhere"])))
    assert "no such file or folder" in nothing["error"]


def test_parts_can_lie_in_an_object_store(folder, bucket):
    out, entries = f"{bucket}/rows/run1", inventory.entries_of([str(folder)])
    run = parts.opened(out, entries, {}, 8, False)
    rows = [parts.to_table([{"path": e.name, "error": "x"}]).to_pylist()[0] for e in run.entries(1)]
    run.write(1, rows)
    again = parts.opened(out, entries, {}, 8, True)
    assert again.missing() == [0]
    assert locations.names_in(out) == {"_run.json", "_inventory.parquet", "part-00000001.parquet"}
    again.write(0, [{"path": e.name, "error": "x"} for e in again.entries(0)])
    assert again.counts().skipped == len(entries)


def test_an_object_that_is_gone_is_a_row_with_the_reason(detector, bucket, monkeypatch):
    monkeypatch.setattr("differnet.batch.cluster.patience.PAUSE", 0.0)
    entry = inventory.Entry(f"{bucket}/gone.png", f"{bucket}/gone.png", "file")
    (taken,) = squares([entry], (32, 32), detector.config.views)
    assert taken.square is None
    assert "no such file" in taken.reason


def test_content_is_decoded_as_its_file_is(good_files):
    from differnet.data.decoding import decode, decode_content

    def said(work):
        try:
            return work().tobytes()
        except ImageError as error:
            return str(error)

    for file in good_files:
        wanted = said(lambda: decode(file))  # noqa: B023
        assert said(lambda: decode_content(file.read_bytes(), str(file))) == wanted  # noqa: B023


@pytest.mark.parametrize(("resampling", "kind"), [("bytes", np.uint8), ("floats", np.float32)])
def test_squares_travel_without_losing_a_digit(folder, resampling, kind):
    """What is decoded elsewhere is what is decoded here, also where a picture is not rounded to bytes."""
    views = Views(resampling=resampling)
    place = folder / "line0" / "02.png"
    (taken,) = squares([inventory.Entry(place.name, str(place), "file")], (32, 32), views)
    assert taken.square.dtype == kind
    assert np.array_equal(taken.square.astype(np.float32), to_square(load(place), (32, 32), views))
