"""Parts, the review, kinds of defects, figures, exports and the consequences of rates, over HTTP."""

from __future__ import annotations

import csv
import io
import json
import zipfile

import pytest

pytest.importorskip("fastapi")

from PIL import Image

from differnet.errors import ConfigError, MissingExtraError
from differnet.service.http.limits import of_parts
from differnet.service.record.figures import export
from differnet.service.record.figures.review import is_drawn
from differnet.service.record.figures.shifts import Shifts
from differnet.service.record.part import PartPattern
from support.service_fixture import bad_part, good_part, rows, send

NAMES = ("serial", "lot", "station", "fields")


def named(row):
    return tuple(row[name] for name in NAMES)


def said(client, row, verdict, **more):
    return client.put(f"/v1/inspections/{row['id']}/operator", json={"verdict": verdict, **more})


def test_a_part_comes_by_headers_a_form_json_and_the_name_of_its_file(fresh):
    import base64

    client, _ = fresh(part_pattern=PartPattern(r"(?P<serial>SN\d+)_(?P<side>\w+)"))
    wanted = ("7", "Löt", None, {"fixture": "A"})
    fields = json.dumps({"fixture": "A"})
    head = {"X-Part-Serial": "7", "X-Part-Lot": "L%C3%B6t", "X-Part-Fields": fields}
    png = {"Content-Type": "image/png"}
    url = "/v1/models/tiny/inspect"
    raw = client.post(url, content=good_part(1), headers=head | png)
    utf8 = client.post(url, content=good_part(1), headers=head | png | {"X-Part-Lot": "Löt".encode()})
    form = send(client, good_part(1), data={"serial": "7", "lot": "Löt", "fields": fields})
    text = base64.b64encode(good_part(1)).decode()
    document = {"image": text, "serial": 7, "lot": "Löt", "fields": {"fixture": "A"}}
    for answer in (raw, utf8, form, client.post(url, json=document)):
        assert answer.status_code == 200, answer.text
        assert named(answer.json()) == wanted
        assert named(client.get(f"/v1/inspections/{answer.json()['id']}").json()) == wanted
    by_name = send(client, good_part(1), "SN12_left.png", headers={"X-Part-Lot": "L2"}).json()
    assert named(by_name) == ("SN12", "L2", None, {"side": "left"})
    over = send(client, good_part(1), "SN12_left.png", data={"serial": "13"}).json()
    assert named(over) == ("13", None, None, {"side": "left"})
    broken = send(client, b"no image", "SN12_left.png")
    assert named(broken.json()["inspection"])[0] == "SN12"
    batch = client.post(
        "/v1/models/tiny/inspect-batch",
        files=[("images", ("a.png", good_part(1))), ("images", ("b.png", good_part(2)))],
        data={"parts": json.dumps([{"serial": "1"}, {"serial": "2", "lot": "own"}])},
        headers={"X-Part-Lot": "all"},
    ).json()["inspections"]
    assert [(one["serial"], one["lot"]) for one in batch] == [("1", "all"), ("2", "own")]


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ({"headers": {"X-Part-Serial": "x" * 201}}, "serial: at most 200"),
        ({"headers": {"X-Part-Lot": "%FF"}}, "X-Part-Lot: %XX of UTF-8"),
        ({"headers": {"X-Part-Fields": "{"}}, "fields: no JSON"),
        ({"headers": {"X-Part-Fields": "[1]"}}, "an object"),
        ({"data": {"fields": "[" * 3000}}, "fields: no JSON"),
        ({"data": {"serial": "a\nb"}}, "without control characters"),
    ],
)
def test_what_is_no_part_is_refused_and_not_judged(client, more, text):
    before = len(rows(client))
    answer = send(client, good_part(), **more)
    assert answer.status_code == 422
    assert text in answer.json()["detail"]
    assert len(rows(client)) == before


@pytest.mark.parametrize("parts", ["[", "{}", '[{"serial": "1"}]', '["a", "b"]', '[{}, {"lot": [1]}]'])
def test_a_batch_has_one_part_for_each_image(client, parts):
    files = [("images", ("a.png", good_part())), ("images", ("b.png", good_part()))]
    before = len(rows(client))
    answer = client.post("/v1/models/tiny/inspect-batch", files=files, data={"parts": parts})
    assert answer.status_code == 422
    assert len(rows(client)) == before


def test_inspections_are_searched(fresh):
    client, _ = fresh()
    for number in range(4):
        data = {"serial": f"A{number}", "lot": f"L{number // 2}", "fields": json.dumps({"shot": str(number)})}
        send(client, good_part(number), data=data)

    def serials(**query):
        return [one["serial"] for one in rows(client, **query)]

    assert serials(lot="L1") == ["A3", "A2"]
    assert serials(field="shot:1") == ["A1"]
    assert serials(search="a2") == ["A2"]
    assert client.get("/v1/inspections", params={"field": "shot"}).status_code == 422
    near = client.get("/v1/inspections", params={"serail": "A1"})
    assert (near.status_code, "did you mean 'serial'?" in near.json()["detail"]) == (422, True)


def test_ok_parts_are_drawn_kept_and_reviewed(fresh):
    client, _ = fresh(audit_share=0.4, keep="flagged")
    ok = [row for row in (send(client, good_part(n)).json() for n in range(24)) if row["verdict"] == "OK"]
    bad = send(client, bad_part()).json()
    assert bad["verdict"] == "NG"
    assert (bad["audit_share"], bad["is_drawn"]) == (None, None)
    for row in ok:
        assert (row["audit_share"], row["is_drawn"]) == (0.4, is_drawn(row["id"], 0.4))
        assert (row["image"] is not None) is row["is_drawn"]  # else there would be nothing to look at
    drawn = [row for row in ok if row["is_drawn"]]
    assert 0 < len(drawn) < len(ok)
    flagged = [one for one in rows(client) if one["verdict"] in ("review", "NG")]
    first = client.get("/v1/models/tiny/review").json()
    kinds = first["waiting"]
    assert (kinds["NG"] + kinds["review"], kinds["drawn"]) == (len(flagged), len(drawn))
    seen, after = [], -1
    while found := client.get("/v1/models/tiny/review", params={"after_seq": after}).json()["inspections"]:
        seen.append(found[0]["id"])
        after = found[0]["seq"]
    assert seen == [one["id"] for one in sorted([*flagged, *drawn], key=lambda one: one["seq"])]
    for number, row in enumerate(drawn):
        said(client, row, "good" if number else "defective")
    found = client.get("/v1/models/tiny/escapes").json()
    assert (found["passed"], found["confirmed"], found["defective"]) == (len(ok), len(drawn), 1)
    assert found["low"] < 1 / len(drawn) == found["estimate"] < found["high"]
    assert f"about {round(len(ok) / len(drawn))} defective part" in found["text"]
    assert client.get("/v1/models/tiny/review").json()["waiting"]["drawn"] == 0
    assert client.get("/v1/models/none/review").status_code == 404


def test_parts_that_are_drawn_want_their_pictures(tiny_station, tmp_path):
    from support.service_fixture import running

    with (
        pytest.raises(ConfigError, match="no images are kept"),
        running(tiny_station, tmp_path, audit_share=0.1, keep="none"),
    ):
        pass


def test_kinds_of_defects_are_chosen_or_written(fresh):
    client, _ = fresh(defects=("dent", "scratch"))
    row = send(client, bad_part()).json()
    assert client.get("/v1/defect-classes").json() == {"names": ["dent", "scratch"], "is_free": False}
    answer = said(client, row, "defective", defect="dirt")
    assert (answer.status_code, "there are dent, scratch" in answer.json()["detail"]) == (422, True)
    assert said(client, row, "good", defect="dent").status_code == 422
    assert said(client, row, "defective", defect="dent").json()["defect"] == "dent"
    assert said(client, row, "defective", note="seen").json()["defect"] == "dent"
    (found,) = client.get("/v1/models/tiny/defects").json()
    assert (found["defect"], found["count"], found["cumulative"]) == ("dent", 1, 1.0)
    changes = client.get(f"/v1/inspections/{row['id']}/changes").json()
    assert [one["after"]["defect"] for one in changes] == ["dent", "dent"]
    free, _ = fresh()
    assert free.get("/v1/defect-classes").json() == {"names": ["dent"], "is_free": True}
    assert said(free, row, "defective", defect=" hair \n crack").json()["defect"] == "hair crack"


def test_shifts_and_scores(fresh):
    client, _ = fresh(shifts=Shifts.read(["day=06:00", "night=18:00"], "UTC"))
    sent = [send(client, part).json() for part in (good_part(1), good_part(2), bad_part())]
    shifts = client.get("/v1/models/tiny/shifts").json()
    assert {one["name"] for one in shifts} == {"day", "night"}
    for kind in ("OK", "NG", "review"):
        assert sum(one[kind] for one in shifts) == [one["verdict"] for one in sent].count(kind)
    spans = client.get("/v1/models/tiny/scores", params={"spans": 7}).json()
    assert sum(one["count"] for one in spans) == 3
    assert max(one["high"] for one in spans) == pytest.approx(max(one["score"] for one in sent))
    assert spans[-1]["threshold"] == sent[-1]["threshold"]
    late = {"since": "2026-03-01T00:00:00Z", "until": "2026-02-01T00:00:00Z"}
    for path in ("shifts", "scores"):
        assert client.get(f"/v1/models/tiny/{path}", params=late).status_code == 422
    for path in ("shifts", "scores"):
        for at in ("0001-01-01T00:00:00Z", "9999-12-31T23:59:59-12:00"):
            assert client.get(f"/v1/models/tiny/{path}", params={"until": at}).status_code == 422
    long = {"since": "2020-01-01T00:00:00Z", "until": "2026-02-01T00:00:00Z"}
    assert client.get("/v1/models/tiny/shifts", params=long).status_code == 422


def test_rates_say_what_they_mean_for_confirmed_parts(fresh):
    client, _ = fresh()
    goods = [send(client, good_part(500 + n)).json() for n in range(12)]
    bads = [send(client, bad_part(n)).json() for n in range(3)]
    held = [row for row in goods if row["verdict"] != "OK"]
    assert held
    for row in goods[:11]:
        said(client, row, "good")
    for row in bads:
        said(client, row, "defective")
    own = client.post("/v1/models/tiny/rates/preview", json={"rate": 0.2, "review_rate": 0.4}).json()
    found = own["confirmed"]
    assert (found["defective"], found["good"]) == (3, 11)
    assert found["passing"] == found["caught"] == found["spared"] == found["held"] == []
    few = client.post("/v1/models/tiny/rates/preview", json={"rate": 0.1}).json()["confirmed"]
    was, then = few["held_before"], few["held_after"]
    assert was == sum(row["verdict"] != "OK" for row in goods[:11])
    assert then == was - len(few["spared"]) + len(few["held"])
    assert len(few["spared"]) > 0
    assert {one["id"] for one in few["spared"]} <= {row["id"] for row in held}
    many = client.post("/v1/models/tiny/rates/preview", json={"rate": 0.9}).json()["confirmed"]
    assert many["held_after"] > was
    assert {one["verdict_after"] for one in many["held"]} == {"NG"}
    assert many["passing_after"] == 0


def test_a_defective_part_that_would_pass_is_named(fresh):
    client, _ = fresh()
    good = [send(client, good_part(500 + n)).json() for n in range(12)]
    flagged = next(row for row in good if row["verdict"] != "OK")
    said(client, flagged, "defective")  # whatever it looks like, the operator's word counts
    found = client.post("/v1/models/tiny/rates/preview", json={"rate": 0.1}).json()["confirmed"]
    assert [one["id"] for one in found["passing"]] == [flagged["id"]]
    assert found["passing_before"] == 0


def test_applied_rates_are_told_with_name_and_reason(fresh):
    client, _ = fresh()
    with client.stream("GET", "/events", params={"model": "tiny"}) as heard:
        lines = heard.iter_lines()
        next(lines)
        body = {"rate": 0.3, "name": " Ada ", "reason": "new lamp"}
        assert client.put("/v1/models/tiny/rates", json=body).status_code == 200
        event = next(line for line in lines if line == "event: rates")
        told = json.loads(next(lines).removeprefix("data: "))
    assert event
    assert (told["who"], told["reason"], told["rates"]["rate"]) == ("Ada", "new lamp", 0.3)
    (change,) = client.get("/v1/models/tiny/rates/history").json()
    assert (change["name"], change["reason"], change["after"]["rate"]) == ("Ada", "new lamp", 0.3)


def test_rates_that_another_process_applied_are_told(fresh):
    (client, _), (other, _) = fresh(), fresh()
    with client.stream("GET", "/events", params={"model": "tiny"}) as heard:
        lines = heard.iter_lines()
        next(lines)
        other.put("/v1/models/tiny/rates", json={"rate": 0.3})
        service = client.get("/v1/models")
        assert service.status_code == 200
        for _ in range(40):
            client.get("/v1/models/tiny/rates")  # which looks at the record every two seconds
            if next(lines) == "event: rates":
                return
    raise AssertionError("nothing was told")


def test_tables_of_what_is_filtered(fresh, monkeypatch):
    client, _ = fresh()
    for number in range(3):
        send(client, good_part(number), "=a.png", data={"lot": f"L{number}"})
    answer = client.get("/v1/export/inspections.csv", params={"lot": "L1"})
    assert answer.headers["content-disposition"] == 'attachment; filename="inspections.csv"'
    (row,) = csv.DictReader(io.StringIO(answer.content.decode("utf-8-sig")))
    assert (row["lot"], row["file_name"]) == ("L1", "'=a.png")
    assert client.get("/v1/export/inspections.csv", params={"field": "x"}).status_code == 422
    parquet = pytest.importorskip("pyarrow.parquet")
    content = client.get("/v1/export/inspections.parquet", params={"search": "L"}).content
    found = parquet.read_table(io.BytesIO(content)).to_pylist()
    assert [one["lot"] for one in found] == ["L2", "L1", "L0"]

    def missing(_):
        raise MissingExtraError("Parquet needs pyarrow: pip install 'differnet[parquet]'")

    monkeypatch.setattr(export, "as_parquet", missing)
    answer = client.get("/v1/export/inspections.parquet")
    assert answer.status_code == 501
    assert "pip install 'differnet[parquet]'" in answer.json()["detail"]


def test_confirmed_pictures_leave_as_a_labelled_set(fresh):
    client, _ = fresh(keep="all")
    for number in range(4):
        said(client, send(client, good_part(number)).json(), "good")
    said(client, send(client, bad_part()).json(), "defective", defect="square")
    answer = client.get("/v1/models/tiny/labelled-images", params={"test_share": 0})
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        folders = [name.rpartition("/")[0] for name in archive.namelist()]
        assert sorted(folders) == ["tiny", "tiny/test/square", *["tiny/train/good"] * 4]
        first = next(name for name in archive.namelist() if "square" in name)
        assert archive.read(first) == bad_part()


def test_small_pictures(fresh):
    client, _ = fresh(keep="all")
    row = send(client, good_part()).json()
    answer = client.get(f"/v1/inspections/{row['id']}/thumbnail", params={"size": 32})
    image = Image.open(io.BytesIO(answer.content))
    assert (image.format, max(image.size)) == ("PNG", 32)
    broken = send(client, b"no image").json()["inspection"]
    assert client.get(f"/v1/inspections/{broken['id']}/thumbnail").status_code == 404


def test_options_of_parts_are_checked():
    found = of_parts(0.01, "(?P<lot>.)", [" dent ", "dent", ""], ["early=06:00"], "UTC")
    assert (found["defects"], found["shifts"].starts[0][0]) == (("dent",), "early")
    for given in (
        ("(", [], [], None),
        (None, ["good"], [], None),
        (None, [], ["6"], None),
        (None, [], [], "x"),
    ):
        with pytest.raises(ConfigError):
            of_parts(0.0, *given)
