"""One recorder: the same picture gives the same row over HTTP and from a watched folder, and leaves the same files."""

from __future__ import annotations

import io
import json
import logging
import threading
from dataclasses import asdict, replace

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("fastapi")
pytest.importorskip("watchfiles")

from differnet import Inspector
from differnet.decision.drift import DriftMonitor
from differnet.decision.light import measure
from differnet.errors import ConfigError, DuplicateError, StoreError
from differnet.service.http.model import Served, Task
from differnet.service.record.inspection import Inspection, Rates, Received
from differnet.service.record.store import Store
from differnet.service.recorder import Keeping, Recorder
from differnet.service.saved_monitor import SavedMonitor, open_monitor
from differnet.service.watch.folder import Folder
from differnet.service.watch.loop import Watch, Wishes
from differnet.service.watch.memory import StoreMemory
from support.service_fixture import bad_part, good_part, png
from support.tiny import good_image

OWN = ("id", "seq", "time", "source", "source_key", "image", "heat_map")  # what two rows never share
UNREAD = b"no picture"


@pytest.fixture
def inspector(tiny_station):
    return Inspector(tiny_station, threads=1)


@pytest.fixture
def store(tmp_path):
    found = Store.open(f"sqlite:///{tmp_path}/record.sqlite3")
    yield found
    found.close()


@pytest.fixture(scope="module")
def pictures(tiny_station):
    """One picture of each verdict, by the name of its file."""
    inspector, found = Inspector(tiny_station, threads=1), {"NG": bad_part(), "error": UNREAD}
    for index in range(500, 600):
        found.setdefault(inspector.predict(good_image(index)).verdict, good_part(index))
    assert set(found) == {"OK", "review", "NG", "error"}
    return {f"{verdict}.png": content for verdict, content in found.items()}


def over_http(inspector, store, pictures, keep="none", model="http", views=None, heat_map=False):
    """Record pictures as the service does; return their outcomes."""
    served = Served(model, inspector, store, 10**6, keep)
    tasks = [Task(content, name, None, heat_map, views) for name, content in pictures.items()]
    return [served.inspect(task) for task in tasks]


def watched(inspector, store, pictures, place, wishes=None, model="watch", told=None):
    """Record pictures as a watch of their folder does; return the rows in the order of their names."""
    place.mkdir(exist_ok=True)
    for name, content in pictures.items():
        (place / name).write_bytes(content)
    memory, tell = (
        StoreMemory(store, model, "line"),
        lambda *what: (told if told is not None else []).append(what),
    )
    work = Watch(inspector, memory, wishes or Wishes(), tell)
    source = Folder(place, "line", memory, tell, settle=0.0, patience=0.1)
    found = {row.file_name: row for row in work.run(source, threading.Event(), True)}
    return [found[name] for name in pictures]


def same(row, place):
    """Return what two rows of a picture have in common; where the picture lies is no part of it."""
    found = {name: value for name, value in asdict(row).items() if name not in (*OWN, "model")}
    return found | {"error": row.error and row.error.replace(f"{place}/", "")}


def files(store, row):
    return [name and store.kept.path(name).read_bytes() for name in (row.image, row.heat_map)]


@pytest.mark.parametrize("keep", ["none", "flagged", "all"])
def test_both_ways_give_the_same_row_and_keep_the_same_files(inspector, store, pictures, tmp_path, keep):
    place, maps = tmp_path / "images", "none" if keep == "none" else "flagged"
    asked = [outcome.inspection for outcome in over_http(inspector, store, pictures, keep)]
    arrived = watched(inspector, store, pictures, place, Wishes(None, maps, keep))
    assert [f"{row.verdict}.png" for row in asked] == list(pictures)
    for one, other, content in zip(asked, arrived, pictures.values(), strict=True):
        assert same(one, place) == same(other, place)
        assert one.model_digest == inspector.station.digest
        assert (one.rate, one.review_rate) == (0.2, 0.4)  # also of what could not be judged
        assert files(store, one) == files(store, other)
        is_kept = keep == "all" or (keep == "flagged" and one.verdict != "OK")
        has_map = keep != "none" and one.verdict in ("review", "NG")
        assert (one.image is not None, one.heat_map is not None) == (is_kept, has_map)
        if is_kept:
            assert store.kept.path(one.image).read_bytes() == content


def test_flagged_is_what_a_person_should_look_at():
    def flagged(verdict):
        row = Inspection(model="m", model_digest="", source="", image_digest="", verdict=verdict)
        return row.is_flagged

    assert [flagged(verdict) for verdict in ("review", "NG", "error", "OK", None)] == [True] * 3 + [False] * 2


def test_what_can_be_read_but_not_judged_is_the_same_row_and_is_kept(
    inspector, store, tmp_path, monkeypatch, caplog
):
    monkeypatch.setattr(inspector, "_tiles", lambda pixels: 1 / 0)
    part = {"part.png": good_part()}
    (outcome,) = over_http(inspector, store, part, "flagged")
    (row,) = watched(inspector, store, part, tmp_path / "images", Wishes(None, "none", "flagged"))
    assert same(outcome.inspection, "") == same(row, "")
    assert (outcome.fault, row.verdict, row.score) == ("model", "error", None)
    assert "ZeroDivisionError" in row.error
    assert "in <lambda>" in caplog.records[-1].data["exception"]
    assert files(store, row) == files(store, outcome.inspection) == [part["part.png"], None]


def test_a_map_that_cannot_be_drawn_costs_no_verdict(inspector, store, tmp_path, monkeypatch):
    wanted = inspector.predict(np.asarray(Image.open(io.BytesIO(bad_part()))))
    monkeypatch.setattr(inspector, "_heat_map", lambda *_: 1 / 0)
    part, told = {"part.png": bad_part()}, []
    (outcome,) = over_http(inspector, store, part, "flagged", heat_map=True)
    wishes = Wishes(None, "flagged", "flagged")
    (row,) = watched(inspector, store, part, tmp_path / "images", wishes, told=told)
    assert same(outcome.inspection, "") == same(row, "")
    assert (row.verdict, row.score, row.error, row.heat_map) == ("NG", wanted.score, None, None)
    assert store.get(row.id) == row
    assert (outcome.fault, outcome.heat_map) == (None, None)
    assert outcome.map_error.startswith("the heat map could not be drawn: ZeroDivisionError")
    assert [event for event, _ in told] == ["map"]
    assert "the verdict is recorded" in told[0][1]


def test_the_verdict_is_in_the_record_before_its_map_is_drawn(inspector, store, tmp_path, monkeypatch):
    part, seen = {"part.png": bad_part()}, []

    def drawn(*_):
        seen.append([(row.verdict, row.heat_map) for row in store.list()])
        raise MemoryError

    monkeypatch.setattr(inspector, "localize", drawn)
    over_http(inspector, store, part, "flagged")
    watched(inspector, store, part, tmp_path / "images", Wishes(None, "all", "none"))
    assert seen == [[("NG", None)], [("NG", None)] * 2]


def test_a_map_that_cannot_be_kept_costs_no_verdict_and_is_given(inspector, store, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store.kept, "write_file", full)
    served = Served("http", inspector, store, 10**6, "flagged")
    served.recorder.keeping = Keeping("none", "flagged")
    outcome = served.inspect(Task(bad_part(), "part.png", None, True))
    assert outcome.heat_map.startswith(b"\x89PNG")
    assert "No space left" in outcome.map_error
    row = store.get(outcome.inspection.id)
    assert (row.verdict, row.heat_map, row.kept_bytes) == ("NG", None, 0)


def test_a_monitor_that_fails_costs_no_verdict(inspector, store, monkeypatch):
    served = Served("http", inspector, store, 10**6, "none")
    monkeypatch.setattr(served.monitor, "take", lambda *_: 1 / 0)
    row = served.inspect(Task(bad_part(), "part.png")).inspection
    assert (row.verdict, row.error) == ("NG", None)
    assert row.drift.startswith("cannot be told: ZeroDivisionError")


def test_whose_fault_it_is(inspector, store):
    wide = {"wide.png": png(np.zeros((1001, 1000, 3), np.uint8)), "unread.png": UNREAD}
    outcomes = over_http(inspector, store, wide, "all")
    assert [outcome.fault for outcome in outcomes] == ["pixels", "image"]
    assert [files(store, outcome.inspection)[0] for outcome in outcomes] == list(wide.values())


def test_a_map_that_was_asked_for_is_kept_with_its_image(inspector, store, pictures):
    good = {"OK.png": pictures["OK.png"]}
    for keep, is_kept in (("none", False), ("flagged", False), ("all", True)):
        (outcome,) = over_http(inspector, store, good, keep, heat_map=True)
        assert outcome.heat_map.startswith(b"\x89PNG")
        assert (outcome.inspection.heat_map is not None) == is_kept
        assert (outcome.inspection.image is not None) == is_kept
    (outcome,) = over_http(inspector, store, {"NG.png": pictures["NG.png"]}, "all")
    assert outcome.heat_map is None
    assert outcome.inspection.heat_map is not None


def test_drift_is_the_same(inspector, store, tmp_path):
    parts = {f"{n:03}.png": png(good_image(800 + n) // (1 if n < 30 else 3)) for n in range(70)}
    told = []
    changed, served = [], Served("http", inspector, store, 10**6, "none")

    def add(judged):
        changed.append(judged.alarm_changed)
        return served.recorder.add(judged)

    outcomes = [served.inspect(Task(content, name), add) for name, content in parts.items()]
    rows = watched(inspector, store, parts, tmp_path / "images", told=told)
    said = [row.drift for row in rows]
    assert [outcome.inspection.drift for outcome in outcomes] == said
    assert said[29] is None
    assert "pictures are darker" in said[-1]
    first = next(index for index, text in enumerate(said) if text)
    assert [index for index, is_new in enumerate(changed) if is_new] == [first]
    assert told == [("drift", said[first])]


def test_other_views_are_watched_neither_way(inspector, store, pictures, tmp_path):
    part = {"OK.png": pictures["OK.png"]}
    served = Served("http", inspector, store, 10**6, "none")
    assert served.inspect(Task(part["OK.png"], views=1)).inspection.drift is None
    assert served.monitor.images == 0
    told = []
    watched(inspector, store, part, tmp_path / "images", Wishes(views=1), told=told)
    assert told[0][0] == "drift"
    assert told[0][1].startswith("not watched")


def seen(inspector, count, shade=1):
    """Return a monitor that was shown some images."""
    monitor = inspector.drift_monitor()
    for index in range(count):
        pixels = good_image(index) // shade
        state = monitor.update(inspector.predict(pixels).score, *measure(pixels))
    return monitor, state


def test_states_that_were_saved_before_there_was_one_form_are_gone_on_with(inspector, store, tmp_path):
    monitor, state = seen(inspector, 40, 3)
    assert state.is_alarm
    served = {"monitor": monitor.to_json(), "alarm": True, "text": str(state)}
    store.set_monitor("http", inspector.station.digest, json.dumps(served))
    memory = StoreMemory(store, "watch", "line")
    store.set_monitor(f"watch watch {memory.watch}", inspector.station.digest, monitor.to_json())
    dark = {"dark.png": png(good_image(7) // 3)}
    assert Served("http", inspector, store, 10**6, "none").monitor.alarm == str(state)
    (outcome,), (row,) = (
        over_http(inspector, store, dark),
        watched(inspector, store, dark, tmp_path / "images"),
    )
    assert outcome.inspection.drift == row.drift
    assert row.drift.startswith("after 41 images: ")
    recorder = Served("http", inspector, store, 10**6, "none").recorder
    judged = recorder.judge(Received(digest="d", pixels=good_image(7) // 3))
    assert (judged.row.drift, judged.alarm_changed) == (row.drift, False)


def test_a_state_comes_back_as_it_was(inspector, store):
    first = SavedMonitor(inspector, store, "m", print)
    for index in range(40):
        pixels = good_image(index) // 3
        first.take(inspector.predict(pixels).score, pixels)
    first.save()
    again = SavedMonitor(inspector, store, "m", print)
    assert (again.images, again.is_alarm, again.text) == (40, True, first.text)
    pixels = good_image(41)
    assert again.take(1.0, pixels) == first.take(1.0, pixels)
    again.reset()
    assert SavedMonitor(inspector, store, "m", print).alarm is None


@pytest.mark.parametrize(
    "state", ["{", "[]", "{}", '{"monitor": "{}", "alarm": false, "text": ""}', '{"monitor": 3}']
)
def test_a_damaged_state_begins_anew_which_is_said(inspector, store, state):
    told = []
    store.set_monitor("m", inspector.station.digest, state)
    assert open_monitor(inspector, store, "m", lambda *what: told.append(what)).images == 0
    assert [event for event, _ in told] == ["drift"]
    assert told[0][1].startswith("begins anew: not the state of a drift monitor")


def test_a_state_of_other_calibration_images_begins_anew_either_way(
    inspector, store, tmp_path, caplog, pictures, monkeypatch
):
    other = DriftMonitor([1.0, 2.0], [0.1, 0.2], [0.1, 0.2])
    other.update(1.5, 0.1, 0.1)
    caplog.set_level(logging.INFO, "differnet.service")  # whatever other tests have set
    monkeypatch.setattr(logging.getLogger("differnet.service"), "propagate", True)
    memory, told = StoreMemory(store, "watch", "line"), []
    for name in ("http", f"watch watch {memory.watch}"):
        store.set_monitor(name, inspector.station.digest, other.to_json())
    assert Served("http", inspector, store, 10**6, "none").monitor.images == 0
    assert "other calibration images" in caplog.text
    watched(inspector, store, {"OK.png": pictures["OK.png"]}, tmp_path / "images", told=told)
    assert "other calibration images" in told[0][1]


def test_nothing_to_compare_with_is_said(inspector, store, monkeypatch):
    def nothing():
        raise ConfigError("does not say how bright")

    told = []
    monkeypatch.setattr(inspector, "drift_monitor", nothing)
    assert open_monitor(inspector, store, "m", lambda *what: told.append(what)) is None
    assert told == [("drift", "not watched: does not say how bright")]


def test_rates_that_one_applies_the_other_follows(inspector, store, pictures, tmp_path):
    part = {"review.png": pictures["review.png"]}
    served = Served("part", inspector, store, 10**6, "none")
    recorder = Recorder(inspector, store, "part", "watch", Keeping())
    assert not recorder.follow()
    served.recorder.apply(Rates(0.4, None, 0.6))
    assert [recorder.follow(), recorder.follow()] == [True, False]
    assert recorder.applied == served.recorder.applied == Rates(0.4, None, 0.6)
    one = served.inspect(Task(part["review.png"], "review.png")).inspection
    (other,) = watched(inspector, store, part, tmp_path / "images", model="part")
    assert same(one, "") == same(other, "")
    assert (other.rate, other.review_rate, other.verdict) == (0.4, 0.6, "NG")
    served.recorder.apply(None)
    assert recorder.follow()
    assert recorder.inspector is inspector


def test_rates_that_do_not_fit_are_refused_once_and_change_nothing(inspector, store):
    recorder = Recorder(inspector, store, "part", "watch", Keeping())
    store.set_setting("part", 1e-6)
    with pytest.raises(ConfigError, match="can promise"):
        recorder.follow()
    assert not recorder.follow()
    assert recorder.inspector is inspector
    with pytest.raises(ConfigError, match="can promise"):
        recorder.apply(Rates(1e-6))
    with pytest.raises(ConfigError, match="can promise"):
        Served("part", inspector, store, 10**6, "none")


def test_other_rates_share_the_graphs(inspector):
    other = inspector.with_rates(0.4, None, 0.6)
    assert other._engines is inspector._engines
    assert (inspector.standard.rate, other.standard.rate, other.standard.review_rate) == (0.2, 0.4, 0.6)
    assert other.threshold < inspector.threshold
    assert inspector.with_rates(0.2, None, 0.4).threshold == inspector.threshold
    count = len(inspector.standard.view_scores)
    assert inspector.smallest_rate() == pytest.approx(1 / (count + 1))
    assert inspector.smallest_rate(0.9) == pytest.approx(1 - 0.1 ** (1 / count))
    inspector.with_rates(inspector.smallest_rate())


def test_what_is_recorded_already_leaves_no_file(inspector, store, tmp_path):
    recorder = Recorder(inspector, store, "part", "watch", Keeping("all"))
    received = Received(digest="d", key="k", name="a.png", pixels=good_image(1))
    row = recorder.add(recorder.judge(received))
    with pytest.raises(DuplicateError):
        recorder.add(recorder.judge(received))
    assert files_of(store) == [f"{row.id}.png"]  # of a frame as PNG


def test_maps_that_the_folder_has_not_are_refused(inspector, store):
    inspector.station = replace(inspector.station, maps=None, no_maps="it has none")
    with pytest.raises(ConfigError, match="has no heat maps: it has none"):
        Recorder(inspector, store, "part", "watch", Keeping(maps="flagged"))


def flagged(inspector):
    return Received(digest="d", key="k", name="a.png", pixels=good_image(1), content=bad_part())


def files_of(store):
    return sorted(path.name for path in store.kept.folder.glob("*/*"))


def test_a_row_whose_confirmation_was_lost_is_recorded_and_keeps_its_files(inspector, store, monkeypatch):
    recorder, add, along = Recorder(inspector, store, "part", "watch", Keeping("all")), store.add, []

    def lost(*arguments):
        add(*arguments)
        raise StoreError("the connection broke")

    judged = recorder.judge(flagged(inspector))
    with monkeypatch.context() as patch:
        patch.setattr(store, "add", lost)
        row = recorder.add(judged, lambda _, added: along.append(added))
    assert (row.id, row.seq, along[0].seq) == (judged.row.id, 1, 1)
    assert recorder.add(judged) == row  # sent again, as a watch does
    assert store.list() == [row]
    assert files_of(store) == [f"{row.id}.png"]


def test_a_row_that_was_not_recorded_leaves_no_file_and_one_of_which_that_is_not_known_keeps_it(
    inspector, store, monkeypatch
):
    recorder = Recorder(inspector, store, "part", "watch", Keeping("all"))
    judged = recorder.judge(flagged(inspector))

    def away(*_):
        raise StoreError("away")

    monkeypatch.setattr(store, "add", away)
    with pytest.raises(StoreError, match="^away$"):
        recorder.add(judged)
    assert files_of(store) == []
    monkeypatch.setattr(store, "get", away)
    with pytest.raises(StoreError, match="away; whether it is recorded is not known"):
        recorder.add(judged)
    assert files_of(store) == [f"{judged.row.id}.png"]


def test_a_map_of_a_row_that_was_forgotten_meanwhile_leaves_no_file(inspector, store):
    recorder = Recorder(inspector, store, "part", "watch", Keeping("none", "all"))
    judged = recorder.judge(flagged(inspector))
    drawn = recorder.draw(judged, judged.row)
    assert (drawn.row, drawn.error) == (judged.row, None)
    assert files_of(store) == []
    row = recorder.add(judged)
    assert recorder.draw(judged, row).row.heat_map == store.get(row.id).heat_map is not None


def test_an_error_of_a_record_of_before_is_a_fault_of_the_image(inspector, store):
    served = Served("part", inspector, store, 10**6, "none")
    old = served.inspect(Task(UNREAD, "a.png", "k")).inspection
    with store.writing() as connection:
        connection.exec_driver_sql("UPDATE inspections SET fault = NULL")
    again = served.inspect(Task(UNREAD, "a.png", "k"))
    assert (again.inspection, again.fault, again.is_replay) == (replace(old, fault=None), "image", True)
