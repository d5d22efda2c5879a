"""Which part an inspection is of: what is taken, what is refused, and how it is found again."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from datetime import datetime, time, timedelta, timezone

import pytest

pytest.importorskip("sqlalchemy")
pytest.importorskip("alembic")

from differnet.errors import ConfigError
from differnet.service.record.changes import By, newest
from differnet.service.record.figures import export
from differnet.service.record.figures.defects import defect_counts, named_defects
from differnet.service.record.figures.scores import score_spans
from differnet.service.record.figures.shifts import Shifts, shift_counts
from differnet.service.record.filters import Filter
from differnet.service.record.part import NO_PART, Part, PartPattern, checked, checked_kind
from differnet.service.record.store import Store
from support.records import START, go_back
from support.records import judged as row


def test_a_part_is_what_its_sender_says():
    found = checked({"serial": 17, "lot": " L 3 ", "fields": {"fixture": "A", "shot": 2.5, "no": None}})
    assert found == Part(serial="17", lot="L 3", fields={"fixture": "A", "shot": "2.5"})
    assert checked({"serial": ""}) == NO_PART


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"serial": "x" * 201}, "serial: at most 200"),
        ({"lot": "a\nb"}, "lot: at most 200 characters without control"),
        ({"station": ["a"]}, "station: a text or a number was wanted, and found list"),
        ({"serial": True}, "found bool"),
        ({"fields": [1]}, "an object of names"),
        ({"fields": {str(n): n for n in range(17)}}, "17 of them; at most 16"),
        ({"fields": {"": "a"}}, "a name of 1 to 40"),
        ({"fields": {"x" * 41: "a"}}, "a name of 1 to 40"),
        ({"fields": {"a": {"b": 1}}}, "fields.a: a text or a number"),
    ],
)
def test_what_is_no_part_is_refused(values, said):
    with pytest.raises(ConfigError, match=said):
        checked(values)


def test_a_part_in_the_name_of_a_file():
    pattern = PartPattern(r"(?P<serial>SN\d+)_(?P<lot>[^_.]+)(_(?P<side>\w+))?")
    assert pattern.part("in/2026/SN7_L3_left.png") == Part(serial="SN7", lot="L3", fields={"side": "left"})
    assert pattern.part(r"C:\in\SN7_L3.png") == Part(serial="SN7", lot="L3")
    assert pattern.part("other.png") == pattern.part(None) == NO_PART
    assert len(PartPattern("(?P<serial>x+)").part("x" * 900).serial) == 200
    for text, said in (("(", "no regular expression"), ("SN(.*)", "names no group")):
        with pytest.raises(ConfigError, match=said):
            PartPattern(text)


def test_kinds_of_defects_are_those_that_there_are():
    assert checked_kind("  deep \n scratch ") == "deep scratch"
    assert checked_kind(" ") is None
    assert checked_kind("dent", ["dent", "scratch"]) == "dent"
    for text, known in (("dirt", ["dent"]), ("x" * 101, ()), ("Good", ())):
        with pytest.raises(ConfigError, match="kind of defect"):
            checked_kind(text, known)


def test_parts_are_kept_and_found(store):
    rows = [
        store.add(
            row(0, serial="A7", lot="L1", station="s1", fields={"fixture": "7", "note": 'he said "x":"y"'})
        ),
        store.add(row(1, "NG", serial="A8", lot="L1", file_name="in/a_7.png")),
        store.add(row(2, serial="a7", lot="L2", fields={"fixture": "8"})),
        store.add(row(3, model="bolts", lot="L1")),
    ]
    store.confirm(rows[1].id, "defective", "50% off", defect="dent")

    def numbers(**wanted):
        return [one.seq - rows[0].seq for one in store.found(Filter(**wanted))]

    assert store.get(rows[0].id).fields == rows[0].fields
    assert numbers(serial="A7") == [0]
    assert numbers(lot="L1") == [3, 1, 0]
    assert numbers(lot="L1", model="tiles", verdict="NG") == [1]
    assert numbers(defect="dent") == [1]
    assert numbers(field="fixture:7") == [0]
    assert numbers(field="fixture:8") == [2]
    assert numbers(field="x:y") == []  # which stands within a text, and is no field
    assert numbers(search="a7") == [2, 0]
    assert numbers(search="A_7") == [1]
    assert numbers(search="a_") == [1]  # no sign stands for any other
    assert numbers(search="0%") == [1]
    assert numbers(search='"x"') == [0]
    with pytest.raises(ConfigError, match="NAME:VALUE"):
        numbers(field="fixture")


def test_a_kind_of_defect_goes_with_the_word_that_had_it(store):
    one = store.add(row(1, "NG"))
    assert store.confirm(one.id, "defective", defect="dent").defect == "dent"
    assert store.confirm(one.id, "defective", "again", keep_defect=True).defect == "dent"
    assert store.confirm(one.id, "good", keep_defect=True).defect is None
    said = newest(store.engine, inspection=one.id)
    assert [change.after.get("defect") for change in said] == [None, "dent", "dent"]
    assert said[0].before["defect"] == "dent"


def test_a_record_of_before_parts_is_gone_on_with(store, url, tmp_path):
    before = store.add(row(1, "NG"))
    store.confirm(before.id, "good", "dust", by=By("line 3"))
    go_back(store.engine, "0005")
    store.close()
    again = Store.open(url, tmp_path / "images")
    (old,) = again.list()
    assert (old.id, old.operator, old.note, old.serial, old.fields, old.is_drawn) == (
        before.id, "good", "dust", None, {}, None,
    )  # fmt: skip
    (change,) = newest(again.engine)
    assert (change.who, change.name, change.reason, change.after["note"]) == ("line 3", None, None, "dust")
    again.set_setting("tiles", 0.02, by=By("line 3", name="Ada", reason="new lamp"))
    assert [(one.name, one.reason) for one in newest(again.engine, what="rates")] == [("Ada", "new lamp")]
    assert again.add(row(2, lot="L9")).lot == "L9"
    again.close()


def test_defects_are_counted_by_their_kind(store):
    kinds = ["dent"] * 3 + ["scratch"] * 5 + [None, "dent"]
    for number, kind in enumerate(kinds):
        one = store.add(row(number, "OK" if number < 2 else "NG"))
        store.confirm(one.id, "defective", defect=kind)
    store.confirm(store.add(row(20, "NG")).id, "good")
    found = defect_counts(store.engine, "tiles")
    assert [(one.defect, one.count, one.missed, one.cumulative) for one in found] == [
        ("scratch", 5, 0, 0.5),
        ("dent", 4, 2, 0.9),
        (None, 1, 0, 1.0),
    ]
    late = defect_counts(store.engine, "tiles", since=START + timedelta(minutes=8))
    assert [(one.defect, one.count) for one in late] == [(None, 1), ("dent", 1)]
    assert named_defects(store.engine) == ["scratch", "dent"]
    assert defect_counts(store.engine, "bolts") == []


def test_shifts_are_those_of_the_clock_on_the_wall(store):
    shifts = Shifts.read(["night=22:00", "early=6:00", "late=14:00"], "Europe/Berlin")
    assert shifts.starts == (("early", time(6)), ("late", time(14)), ("night", time(22)))
    at = lambda text: datetime.fromisoformat(text).replace(tzinfo=timezone.utc)  # noqa: E731
    night = shifts.between(at("2026-03-28 22:30"), at("2026-03-29 03:30"))
    assert [(one.name, one.start, one.end) for one in night] == [
        ("night", at("2026-03-28 21:00"), at("2026-03-29 04:00"))
    ]  # clocks went ahead in it: seven hours
    for number, (text, verdict) in enumerate(
        [
            ("2026-03-01 04:59", "OK"),
            ("2026-03-01 05:00", "NG"),
            ("2026-03-01 12:59", "OK"),
            ("2026-03-01 13:00", None),
        ]
    ):
        store.add(row(number, verdict, time=at(text)))
    store.confirm(f"{1:032x}", "good")
    spans = shifts.between(at("2026-03-01 00:00"), at("2026-03-01 20:00"))
    counts = shift_counts(store.engine, "tiles", spans)
    assert [(one.name, one.OK, one.NG, one.none, one.good) for one in counts] == [
        ("night", 1, 0, 0, 0),
        ("early", 1, 1, 0, 1),
        ("late", 0, 0, 1, 0),
    ]
    days = Shifts.read([], "UTC").between(at("2026-03-01 10:00"), at("2026-03-02 10:00"))
    assert [(one.name, one.start.hour) for one in days] == [("day", 0), ("day", 0)]


@pytest.mark.parametrize("texts", [["early"], ["early=24:00"], ["=06:00"], ["a=06:00", "b=6:00"]])
def test_what_is_no_shift_is_refused(texts):
    with pytest.raises(ConfigError, match="--shift"):
        Shifts.read(texts)


def test_a_zone_that_is_none_and_a_century_are_refused():
    for zone in ("Mars/Base", "../etc/passwd", ""):
        with pytest.raises(ConfigError, match="no such zone"):
            Shifts.read([], zone)
    with pytest.raises(ConfigError, match="366 days"):
        Shifts.read([]).between(START - timedelta(days=400), START)


def test_scores_over_time_with_the_limit_that_held(store):
    for number in range(10):
        store.add(row(number, "NG" if number == 4 else "OK", threshold=8.0 if number < 5 else 9.0))
    store.add(row(11, "error", score=None))
    spans = score_spans(store.engine, "tiles", START, START + timedelta(minutes=10), 2)
    assert [
        (one.start, one.count, one.low, one.mean, one.high, one.threshold, one.rejected) for one in spans
    ] == [
        (START, 5, 1.0, 3.0, 5.0, 8.0, 1),
        (START + timedelta(minutes=5), 5, 6.0, 8.0, 10.0, 9.0, 0),
    ]
    assert score_spans(store.engine, "bolts", START, START + timedelta(minutes=10)) == []


def test_a_table_has_every_row_and_no_formula(store, monkeypatch):
    monkeypatch.setattr(export, "_STEP", 4)
    for number in range(11):
        store.add(row(number, serial="=1+1", fields={"a": "b"} if number else {}))
    content = b"".join(export.as_csv(export.rows(store, Filter(model="tiles")))).decode("utf-8-sig")
    rows = list(csv.DictReader(io.StringIO(content)))
    assert [one["id"] for one in rows] == [one.id for one in store.list()]
    assert {one["serial"] for one in rows} == {"'=1+1"}
    assert json.loads(rows[0]["fields"]) == {"a": "b"}
    assert float(rows[0]["score"]) == 11.0
    assert datetime.fromisoformat(rows[0]["time"]) == START + timedelta(minutes=10)
    assert rows[-1]["fields"] == ""


def test_parquet_has_the_same_rows_with_their_kinds(store, monkeypatch):
    parquet = pytest.importorskip("pyarrow.parquet")
    monkeypatch.setattr(export, "_GROUP", 4)
    for number in range(9):
        store.add(row(number, serial="=1", audit_share=0.5, is_drawn=number == 3))
    with export.as_parquet(export.rows(store, Filter())) as file:
        found = parquet.read_table(file).to_pylist()
    assert [one["id"] for one in found] == [one.id for one in store.list()]
    assert [one["time"] for one in found] == [one.time for one in store.list()]
    assert found[0]["serial"] == "=1"
    assert [one["is_drawn"] for one in found].count(True) == 1
    with export.as_parquet(iter(())) as file:
        assert parquet.read_table(file).num_rows == 0


def test_a_labelled_set_is_read_as_mvtecs(store, tmp_path):
    from differnet.data.datasets import read
    from differnet.service.http.routes.record import zipped
    from support.service_fixture import bad_part, good_part

    def kept(number, content, operator, defect=None, **values):
        one = store.add(store.keep(row(number, "NG", **values), content))
        store.confirm(one.id, operator, defect=defect)
        return one

    for number in range(12):
        kept(number, good_part(number), "good", image_digest=f"g{number}", serial=f"S{number % 3}")
    kept(20, bad_part(1), "defective", "deep / scratch", image_digest="d1")
    kept(21, bad_part(2), "defective", image_digest="d2")
    kept(26, bad_part(5), "defective", "../../Nul.x", image_digest="d3")
    kept(27, bad_part(6), "defective", "..", image_digest="d4")
    kept(22, good_part(1), "good", image_digest="g1", serial="S1")  # the same picture again
    kept(23, bad_part(3), "good", image_digest="both")
    kept(24, bad_part(3), "defective", image_digest="both")
    store.add(store.keep(row(25, "NG"), bad_part(4)))  # nobody confirmed it
    names = export.labelled(store, Filter(model="tiles"), 0.5)
    content = b"".join(zipped((f"tiles/{name}", what) for name, what in names))
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        archive.extractall(tmp_path / "set")
    with pytest.warns(UserWarning, match="no masks"):
        (data,) = read(tmp_path / "set", "mvtec")
    found = [(one.split, one.defect) for one in data.samples]
    assert found.count(("train", "good")) + found.count(("test", "good")) == 12
    assert sorted(kind for split, kind in found if kind != "good") == [
        "deep-scratch",
        "defective",
        "defective",
        "kind-Nul.x",
    ]
    with (tmp_path / "set/tiles/parts.csv").open() as file:
        table = list(csv.DictReader(file))
    sides = {(one["serial"], one["split"]) for one in table if one["label"] == "good"}
    assert len(sides) == 3  # of each serial all pictures on one side
    assert [one["id"] for one in table if not one["file"]] == [f"{23:032x}"]
    assert len(table) == 17
