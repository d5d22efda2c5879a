"""Reads that break midway, damaged tables and tables named twice: each row has its own image, or its own reason."""

from __future__ import annotations

import io
import tarfile
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from differnet.batch.cluster import inventory, loading, locations, parts, scoring
from differnet.config.sections import Views
from differnet.data.images import load
from differnet.data.square import to_square
from support.tiny import good_image, save

arrow = pytest.importorskip("pyarrow", reason="Parquet and object stores need pyarrow")
CANVAS, VIEWS = (32, 32), Views()


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr("differnet.batch.cluster.patience.PAUSE", 0.01)


@pytest.fixture
def files(tmp_path):
    found = [tmp_path / "images" / f"{index}.png" for index in range(8)]
    for index, path in enumerate(found):
        save(path, good_image(index, 40 + index))
    return found


def table(path, files, group=3):
    cells = [file.read_bytes() for file in files]
    arrow.parquet.write_table(arrow.table({"image": cells}), path, row_group_size=group)
    return path


def tar(path, files):
    with tarfile.open(path, "w") as archive:
        for file in files:
            archive.add(file, file.name)
    return path


class Flaky(io.FileIO):
    """A file whose reads break once in a while, and are then anywhere; some of them for good."""

    breaks: list[int]
    opened = 0

    def __init__(self, path):
        super().__init__(path)
        type(self).opened += 1
        self.is_dead = False

    def read(self, count=-1):
        if self.is_dead:
            raise OSError("the connection is gone")
        if self.breaks and self.breaks.pop(0):
            self.seek(7)
            self.is_dead = True
            raise OSError("reset by peer")
        return super().read(count)


@pytest.fixture
def flaky(monkeypatch):
    def start(*breaks):
        kind = type("Now", (Flaky,), {"breaks": list(breaks), "opened": 0})
        monkeypatch.setattr(locations, "opened_for_reading", lambda place: kind(locations.local(place)))
        return kind

    return start


def entries_of(*places):
    return inventory.entries_in(inventory.table_of(inventory.entries_of([str(place) for place in places])))


def wanted(files):
    return [to_square(load(file), CANVAS, VIEWS) for file in files]


def check(found, entries, files):
    assert [one.name for one in found] == [entry.name for entry in entries]
    assert [one.reason for one in found] == [None] * len(files)
    for one, square in zip(found, wanted(files), strict=True):
        np.testing.assert_array_equal(one.square, square.astype(one.square.dtype))


@pytest.mark.parametrize("ahead", [1, 4096, 8 * 2**20])
def test_a_read_of_a_tar_that_broke_is_tried_again_from_its_place(files, tmp_path, flaky, monkeypatch, ahead):
    monkeypatch.setattr(loading, "_AHEAD", ahead)
    entries = entries_of(tar(tmp_path / "a.tar", files))
    kind = flaky(1, 1, 0, 1, 0, 1, 1)
    check(list(loading.squares(entries, CANVAS, VIEWS)), entries, files)
    assert kind.opened > 1


def test_pieces_of_a_tar_are_the_same_bytes_however_often_it_breaks(tmp_path, flaky, monkeypatch):
    monkeypatch.setattr(loading, "_AHEAD", 512)
    content = bytes(range(256)) * 64
    (tmp_path / "a").write_bytes(content)
    kind = flaky(*np.random.default_rng(0).integers(0, 2, 200).tolist())
    with loading._Tar(str(tmp_path / "a")) as tar:
        for at, size in ((0, 100), (90, 900), (5000, 3000), (4990, 20), (0, 10), (16000, 384)):
            found = None
            while found is None:
                with suppress(OSError):
                    found = tar.cut(at, size)
            assert found == content[at : at + size]
    assert kind.opened > 10


def test_a_read_of_a_table_that_broke_goes_on_at_its_row(files, tmp_path, monkeypatch):
    entries, contents, broken = entries_of(table(tmp_path / "a.parquet", files)), loading._contents, [2, 0, 5]

    def breaks(place, first, last):
        for number, content in enumerate(contents(place, first, last)):
            if broken and first + number == broken[0]:
                broken.pop(0)
                raise OSError("reset by peer")
            if broken and broken[0] < first:
                broken.pop(0)
            yield content

    monkeypatch.setattr(loading, "_contents", breaks)
    check(list(loading.squares(entries, CANVAS, VIEWS)), entries, files)


def test_a_table_that_cannot_be_read_any_more_has_a_reason_for_every_row(files, tmp_path):
    path = table(tmp_path / "a.parquet", files)
    entries = entries_of(path)

    def reasons():
        found = list(loading.squares(entries, CANVAS, VIEWS))
        assert [one.name for one in found] == [entry.name for entry in entries]
        return [one.reason and one.reason.partition(": ")[2] for one in found]

    whole = path.read_bytes()
    path.write_bytes(b"PAR1 no table at all PAR1")
    assert all(reason.startswith("the table cannot be read: ") for reason in reasons())
    path.unlink()
    assert all("no such file" in reason for reason in reasons())
    arrow.parquet.write_table(arrow.table({"other": [1] * 8}), path)
    assert all("no column of images any more" in reason for reason in reasons())
    table(path, files[:5])
    assert reasons() == [None] * 5 + ["the table has no such row any more"] * 3
    path.write_bytes(whole[:200] + bytes(400) + whole[600:])
    damaged = reasons()
    assert len(damaged) == 8
    assert any(damaged)


def test_text_that_is_none_costs_its_own_row(files, tmp_path):
    path, cells = tmp_path / "a.parquet", [file.read_bytes() for file in files[:2]]
    good = arrow.array(["a", "b", "c"])
    broken = arrow.StringArray.from_buffers(3, good.buffers()[1], arrow.py_buffer(b"\xff\xfe\xfd"))
    arrow.parquet.write_table(arrow.table({"image": broken}), path)
    found = list(loading.squares(entries_of(path), CANVAS, VIEWS))
    assert len(found) == 3
    assert all(one.reason for one in found)
    assert cells


@pytest.mark.parametrize("size", [3, 5, 1000])
def test_a_table_that_is_named_twice_has_all_its_rows_twice(files, tmp_path, size):
    path = table(tmp_path / "a.parquet", files)
    shard = tar(tmp_path / "b.tar", files)
    inputs = [str(path), str(path), str(shard), str(shard), str(path)]
    run = parts.opened(str(tmp_path / "out"), inventory.entries_of(inputs), {}, size, False)
    assert run.images == 5 * len(files)
    blocks = []
    for part in range(len(run)):
        found = list(loading.squares(run.entries(part), CANVAS, VIEWS))
        check(found, run.entries(part), (files * 5)[part * size : part * size + size])
        rows = [{"path": one.name, "error": one.reason} for one in found]
        block = parts.to_table(rows).append_column("part", [[part] * len(rows)])
        blocks.append(block.append_column("position", [list(range(len(rows)))]))
    for part, rows in scoring._whole(blocks, run):
        run.write(part, rows)
    assert run.missing() == []


def test_a_shard_that_cannot_be_listed_for_a_moment_is_listed_again(files, tmp_path, flaky):
    shards = tar(tmp_path / "a.tar", files), table(tmp_path / "b.parquet", files)
    before = entries_of(*shards)
    flaky(1, 0, 1)
    assert entries_of(shards[0]) == before[: len(files)]
    flaky(1, 1)
    assert entries_of(shards[1]) == before[len(files) :]


def test_a_shard_that_libraries_stumble_over_has_one_row(files, tmp_path, monkeypatch):
    path = table(tmp_path / "a.parquet", files)

    def stumbles(_):
        raise MemoryError("too much")

    monkeypatch.setattr(inventory, "_rows", stumbles)
    (found,) = entries_of(path)
    assert (found.kind, found.reason) == ("none", f"{path}: cannot be read: MemoryError: too much")
    assert Path(found.place) == path
