"""One corpus of bad and odd images through detector, station, service and Ray: the same outcome for each file."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import stat
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

import differnet
from differnet.errors import ImageError
from support import corpus, stations
from support.tiny import TESTS

pytestmark = pytest.mark.filterwarnings("ignore")
SOURCES = Path(differnet.__file__).parent.parent
EVERY, QUICK = 31, (("picture", "saturate"), (4095.0, "saturate"))  # of the quick run
TOGETHER = 40  # images of a request


class Outcome(NamedTuple):
    """A score and a verdict, or a reason, in which the name of the file stands for nothing."""

    score: float | None
    verdict: str | None
    reason: str | None
    note: str | None


def outcome_of(path, found):
    """Return the outcome of a prediction or of a row; errors begin with the name of the file."""
    if isinstance(found, ImageError):
        return Outcome(None, None, _without_name(path, str(found)), None)
    if isinstance(found, dict):
        note = found["image_note"] if "image_note" in found else found["note"]
        said = (found["score"], found["verdict"], found["error"], note)
    else:
        said = (found.score, found.verdict, None, found.note)
    score, verdict, *texts = said
    return Outcome(
        score,
        None if verdict == "error" else verdict,
        *(text and _without_name(path, text) for text in texts),
    )


def _without_name(path, text):
    for name in (str(path), printed(path), f"{number_of(path)}.img"):
        text = text.replace(name, "FILE")
    return text


def printed(path):
    return str(path).encode("utf-8", "backslashreplace").decode()


def number_of(path):
    return f"{abs(hash(str(path))):x}"


def predicted(judge, path):
    try:
        return outcome_of(path, judge.predict(path))
    except ImageError as error:
        return outcome_of(path, error)


@pytest.fixture(scope="module")
def items(tmp_path_factory):
    return corpus.make(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="module")
def station(upright, tmp_path_factory):
    return stations.exported(upright, tmp_path_factory.mktemp("stations") / "all", "openvino")


def is_sent(item):
    """Whether there are bytes to be sent: of a regular file that is there."""
    try:
        return stat.S_ISREG(item.path.stat().st_mode)
    except (OSError, ValueError):
        return False


@contextmanager
def service_of(station, scales, place):
    """Yield a client of a service, in this process, with a model for each white."""
    from starlette.testclient import TestClient

    from differnet.service.http import server
    from differnet.service.http.app import create_app
    from differnet.service.http.limits import Limits

    folders = {}
    for number, (white, beyond) in enumerate(scales):
        folder = shutil.copytree(station, place / f"station-{number}")
        manifest = json.loads((folder / "manifest.json").read_text())
        manifest["square"] |= {"white": white, "beyond": beyond}
        (folder / "manifest.json").write_text(json.dumps(manifest))
        folders[f"m{number}"] = str(folder)
    limits = Limits(
        hosts=("testserver",), batch=TOGETHER, image_bytes=2**26, pixels=178_000_000, timeout=120, keep="none"
    )
    service = server.build(folders, f"sqlite:///{place}/record.sqlite3", None, "127.0.0.1", limits)
    with TestClient(create_app(service)) as client:
        yield client, dict(zip(scales, folders, strict=True))


def judged_by_service(client, model, some):
    """Return the row of each item, many to a request."""
    found = []
    for start in range(0, len(some), TOGETHER):
        part = some[start : start + TOGETHER]
        files = [
            ("images", (f"{number_of(item.path)}.img", item.path.read_bytes(), "application/octet-stream"))
            for item in part
        ]
        answer = client.post(f"/v1/models/{model}/inspect-batch", files=files)
        assert answer.status_code == 200, answer.text[:500]
        rows = answer.json()["inspections"]
        assert [row["file_name"] for row in rows] == [f"{number_of(item.path)}.img" for item in part]
        found += rows
    return found


def complaints(item, detector, inspector, row):
    """Return what differs between detector, station and service, or from what must come of a file."""
    ours, theirs = predicted(detector, item.path), predicted(inspector, item.path)
    served = None if row is None else outcome_of(item.path, row)
    wrong = []
    if (ours.reason is None) != (item.refused is None) or (item.refused or "") not in (ours.reason or ""):
        wrong.append(("wanted", item.refused, ours))
    if ours.reason is None and item.pixels is not None and ours.score != detector.predict(item.pixels).score:
        wrong.append(("other pixels", ours))
    if ours[1:] != theirs[1:] or (
        ours.score is not None and theirs.score != pytest.approx(ours.score, rel=1e-3)
    ):
        wrong.append(("station", ours, theirs))
    if served is not None and served != theirs and not _are_both_too_large(served, theirs):
        wrong.append(("service", theirs, served))
    return wrong


def _are_both_too_large(served, theirs):
    """Whether both are refused for their pixels: the service looks at a header before anything else."""
    return all(one.reason is not None and "178,000,000 pixels" in one.reason for one in (served, theirs))


def differences(items, upright, station, place):
    """Return what is wrong with each file, by its name."""
    groups, wrong = corpus.by_scale(items), {}
    with service_of(station, groups, place) as (client, models):
        for scale, some in groups.items():
            detector, inspector = stations.by_white(upright, station, *scale)
            sent = [item for item in some if is_sent(item) and item.path.stat().st_size]
            rows = dict(
                zip([item.path for item in sent], judged_by_service(client, models[scale], sent), strict=True)
            )
            for item in some:
                if found := complaints(item, detector, inspector, rows.get(item.path)):
                    wrong[item.path.name] = found
    return wrong


def test_some_of_the_corpus_has_one_outcome_at_detector_station_and_service(
    items, upright, station, tmp_path
):
    pytest.importorskip("fastapi")
    some = [item for item in items if (item.white, item.beyond) in QUICK]
    assert differences(some[::EVERY], upright, station, tmp_path) == {}


@pytest.mark.long
def test_the_corpus_has_one_outcome_at_detector_station_and_service(items, upright, station, tmp_path):
    pytest.importorskip("fastapi")
    assert len(items) >= corpus.FEWEST
    assert sum(is_sent(item) for item in items) >= corpus.FEWEST - 50
    assert sum(item.pixels is not None for item in items) >= 350
    assert sum(item.refused is not None for item in items) >= 550
    assert differences(items, upright, station, tmp_path) == {}


@pytest.fixture
def ray():
    """Ray on this machine alone, whose workers see the sources that the tests see."""
    pytest.importorskip("pyarrow")
    if not importlib.util.find_spec("ray"):  # not imported here: Ray must be told first where to listen
        pytest.skip("a cluster needs Ray: pip install 'differnet[ray]'")
    from differnet.batch.cluster import session

    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(SOURCES), str(TESTS), *filter(None, [before])])
    try:
        with session.connected() as found:
            yield found
    finally:
        os.environ.pop("PYTHONPATH") if before is None else os.environ.update(PYTHONPATH=before)


def rows_of_ray(ray, detector, some, place):
    """Return the row of each item, from one run over all of them."""
    from differnet.batch.cluster import inventory, scoring
    from differnet.batch.cluster.worker import Parcel

    place.mkdir()
    detector.save(place / "model.safetensors")
    entries = [
        inventory.Entry(name=str(item.path), place=str(item.path), kind="file", size=0) for item in some
    ]
    run = scoring.begin(ray, str(place / "rows"), entries, {}, 64, False)
    settings = detector.settings
    task = scoring.JudgingTask(
        ray.put(Parcel.of(place / "model.safetensors", "random")),
        None,
        scoring.Actors(1, 1, "cpu"),
        settings.canvas,
        settings.views,
    )
    scoring.score(ray, run, task, lambda *_: None)
    return [row for table in run.tables() for row in table.to_pylist()]


@pytest.mark.long
def test_the_corpus_has_the_same_outcome_on_ray(ray, items, upright, station, tmp_path):
    wrong = {}
    for number, (scale, some) in enumerate(corpus.by_scale(items).items()):
        detector, _ = stations.by_white(upright, station, *scale)
        some = [item for item in some if "\0" not in str(item.path)]
        rows = rows_of_ray(ray, detector, some, tmp_path / f"run-{number}")
        assert len(rows) == len(some)
        for item, row in zip(some, rows, strict=True):
            ours, theirs = predicted(detector, item.path), outcome_of(item.path, row)
            if ours != theirs and item.refused != "no image found":
                wrong[item.path.name] = ours, theirs
    assert wrong == {}
