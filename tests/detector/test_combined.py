"""The whole image and its parts, each read by a flow of its own, in one score."""

import itertools
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
import torch

from differnet import DifferNet
from differnet.detector import export, fitting, scoring
from differnet.detector.fitting import VIEWS_OF_PARTS
from differnet.errors import ConfigError, ModelFileError, NumericalError
from differnet.features.views import even_views, render
from differnet.flow import localize, tensor_file
from differnet.flow.graph import fastest
from differnet.flow.learning import Learner, unwatched
from differnet.flow.sources import Bank, Parts
from differnet.runtime import threads
from differnet.runtime.inspector import Inspector
from support.model_files import rewrite
from support.tiny import COMBINED, defective_image, good_image

GOOD = [good_image(index) for index in range(20)]
TORCH_THREADS = torch.get_num_threads()
OTHERS = [good_image(50), defective_image(1)[0], defective_image(2)[0]]


def fitted(**settings):
    detector = DifferNet("default", 0, "random", **(COMBINED | settings))
    detector.fit(GOOD)
    return detector


@pytest.fixture(scope="module")
def upright():
    return fitted(rotation="none", train_views=1, score_rotations="even")


@pytest.fixture(scope="module")
def turned():
    return fitted(rotation="full", train_views=4, score_views=8, score_rotations="random")


def literal(detector, image):
    """The score by the definition, reading by reading, from features of every view."""
    features, fusion = detector.describe(image), detector.model.fusion
    readings = []
    with torch.inference_mode():
        for number, (flow, read) in enumerate(fusion.parts):
            rows = torch.stack([row[columns] for row in features for columns in read.columns])
            z = flow(rows)[0].double().view(len(features), len(read.columns), -1)
            norms = z.square().sum(dim=2) / 2
            readings.append(norms.amax(dim=1))
            if number > 0:
                near = torch.cdist(z, fusion.neighbours[number].kept.double().expand(len(z), -1, -1)).amin(
                    dim=2
                )
                largest, few = norms.topk(4)
                weights = torch.exp(largest - largest[:, :1])
                far = (weights * near.gather(1, few).square()).sum(dim=1) / weights.sum(dim=1)
                readings.append((far + z.shape[2]) / 2)
    return float(torch.stack(readings).log().mean(dim=0).exp().mean())


@pytest.mark.parametrize("name", ["upright", "turned"])
def test_the_score_is_the_geometric_mean_of_the_readings(name, request):
    detector = request.getfixturevalue(name)
    assert len(detector.model.fusion.parts) == 3  # the whole image, and the parts at each of two sizes
    assert [len(kept.kept) for kept in detector.model.fusion.neighbours.values()] == [50, 50]
    for image in OTHERS:
        assert detector.score(image)[0] == pytest.approx(literal(detector, image), rel=1e-6)


@pytest.mark.parametrize("place", [0, 2])
def test_a_flow_that_gives_no_finite_latent_is_told_of(place, upright, monkeypatch):
    flow = upright.model.fusion.parts[place][0]
    monkeypatch.setattr(flow, "forward", lambda rows: (torch.full_like(rows, torch.nan), rows))
    with pytest.raises(NumericalError, match="an array or PIL image: the score of a view is not finite"):
        upright.predict(OTHERS[0])


def test_each_reading_has_its_own_columns(upright):
    whole, large, small = (read.columns for read in upright.model.fusion.reads)
    assert (len(whole), len(large), len(small)) == (1, 9, 9)
    taken = torch.cat([one.flatten() for one in (whole, large, small)])
    assert sorted(taken.tolist()) == list(range(upright.model.fusion.reads[0].width))


def test_the_whole_image_has_a_gaussian_and_parts_have_trained_flows(upright):
    flows = [flow for flow, _ in upright.model.fusion.parts]
    assert [flow.learns for flow in flows] == [False, True, True]
    last = [flow.steps[-1].subnet2.layers[-1].weight for flow in flows[1:]]
    assert all(bool(weight.any()) for weight in last)
    assert [epoch.epoch for epoch in upright.model.history] == list(range(len(upright.model.history)))


@pytest.mark.parametrize("name", ["upright", "turned"])
def test_a_model_file_gives_it_back_to_the_bit(name, request, tmp_path):
    detector = request.getfixturevalue(name)
    detector.save(tmp_path / "m.safetensors")
    again = DifferNet.load(tmp_path / "m.safetensors", "random")
    assert again.threshold == detector.threshold
    assert np.array_equal(again.score(OTHERS), detector.score(OTHERS))


def test_parts_of_a_file_that_do_not_fit_are_refused(upright, tmp_path):
    upright.save(tmp_path / "m.safetensors")
    header, tensors = tensor_file.read_tensors(tmp_path / "m.safetensors")
    lacking = {name: value for name, value in tensors.items() if not name.startswith("flow2.")}
    tensor_file.write_tensors(tmp_path / "lacking.safetensors", lacking, header)
    with pytest.raises(ModelFileError, match="do not fit together"):
        DifferNet.load(tmp_path / "lacking.safetensors", "random")
    for features in ([1], header["features"][:2], header["features"][::-1]):
        tensor_file.write_tensors(tmp_path / "other.safetensors", tensors, header | {"features": features})
        with pytest.raises(ModelFileError, match="do not fit together"):
            DifferNet.load(tmp_path / "other.safetensors", "random")


@pytest.mark.parametrize("form", ["onnx", "openvino"])
@pytest.mark.parametrize("name", ["upright", "turned"])
def test_a_station_judges_the_same(name, form, request, tmp_path):
    detector = request.getfixturevalue(name)
    found = export.export(detector, tmp_path / "station", form, images=OTHERS)
    assert found.verdicts == 0
    assert found.score < 1e-4
    assert found.heat_map < 1e-2
    inspector = Inspector(tmp_path / "station")
    for image in OTHERS:
        wanted = detector.predict(image, views="auto") if name == "turned" else detector.predict(image)
        said = inspector.predict(image, views="auto") if name == "turned" else inspector.predict(image)
        assert (said.verdict, said.views) == (wanted.verdict, wanted.views)
        assert said.score == pytest.approx(wanted.score, rel=1e-4)


def test_fewer_views_are_the_first_of_more(turned):
    for image in OTHERS:
        every = turned.view_scores(turned.describe(image))
        assert turned.predict(image, views=3).score == pytest.approx(every[:3].mean(), rel=1e-6)


def test_the_first_view_is_the_picture_as_it_is(turned):
    shown = turned.scoring_views
    assert (float(shown.angles[0]), float(shown.brightness[0]), float(shown.contrast[0])) == (0, 1, 1)
    assert float(shown.angles[1:].min()) > 0
    square = turned.describer.square(OTHERS[0])
    first = turned.describer.features(square, even_views(1, turned.settings.views))[0]
    torch.testing.assert_close(turned.describe(OTHERS[0])[0], first, rtol=1e-5, atol=1e-5)


def test_parts_are_learned_from_a_few_views_and_the_whole_from_all_that_are_turned(monkeypatch):
    known = {}

    def learn(learner, sources, held):
        known.update(zip(("whole", "large", "small"), sources, strict=True))
        return learner._started(sources).requires_grad_(False), ()

    monkeypatch.setattr(Learner, "learn", learn)
    fitted(rotation="full", train_views=6, score_views=2, holdout=0.0)
    assert known["whole"].only.tolist() == [6 * image + view for image in range(20) for view in range(1, 6)]
    of_parts = [6 * image + view for image in range(20) for view in range(VIEWS_OF_PARTS)]
    assert [known[name].only.tolist() for name in ("large", "small")] == [of_parts] * 2
    for source, views in ((known["whole"], range(1, 6)), (known["small"], range(VIEWS_OF_PARTS))):
        taken = torch.cat(list(source.batches(0)))
        wanted = torch.cat([source.rows[6 * image + view][None] for image in range(20) for view in views])
        wanted = wanted[:, source.columns].flatten(0, 1) if source is known["small"] else source.read(wanted)
        assert torch.equal(taken.sort(dim=0).values, wanted.sort(dim=0).values)


@pytest.mark.parametrize("cores", [1, 2])
def test_a_broken_off_fit_goes_on_to_the_same_flows(upright, tmp_path, monkeypatch, cores):
    monkeypatch.setattr(threads, "cores", lambda: cores)

    class Broken(Exception):
        pass

    def fit(on_epoch):
        settings = COMBINED | {"rotation": "none", "train_views": 1, "score_rotations": "even"}
        detector = DifferNet("default", 0, "random", **settings)
        detector.fit(GOOD, checkpoint=tmp_path / "kept", on_epoch=on_epoch)
        return detector

    seen = []

    def break_off(epoch, total):
        seen.append(epoch.epoch)
        if epoch.epoch == total // 2 + 1:  # within the second flow
            raise Broken

    with pytest.raises(Broken):
        fit(break_off)
    again = []
    detector = fit(lambda epoch, total: again.append(epoch.epoch))
    rest = set(range(len(upright.model.history))) - set(seen)
    assert set(again) == rest  # nothing is done twice, whichever flow was how far
    assert cores == 2 or again == sorted(rest)
    assert np.array_equal(detector.score(OTHERS), upright.score(OTHERS))


def test_cross_fitting_scores_every_image_by_other_flows():
    detector = fitted(rotation="none", train_views=1, score_rotations="even", folds=4)
    assert detector.model.view_scores.shape == (20, 1)
    own = detector.score(GOOD)
    assert detector.model.view_scores.mean() > own.mean()  # they were not fitted to


def learned(monkeypatch, cores, **options):
    """Fit with so many cores; returns the flows' numbers and the threads that they were learned in."""
    seen = []
    monkeypatch.setattr(threads, "cores", lambda: cores)
    detector = DifferNet("default", 0, "random", **(COMBINED | {"rotation": "none", "epochs": 3}))
    detector.fit(
        GOOD, on_epoch=lambda epoch, total: seen.append((threading.current_thread().name, epoch)), **options
    )
    numbers = [value.clone() for flow in detector.model.fusion.flows for value in flow.state_dict().values()]
    return numbers, seen, detector.model.history


def test_flows_that_learn_at_a_time_learn_the_same(monkeypatch):
    one, alone, before = learned(monkeypatch, 1)
    two, beside, after = learned(monkeypatch, 2)
    assert all(map(torch.equal, one, two))
    assert len({name for name, _ in alone}) == 1
    assert len({name for name, _ in beside if name.startswith("differnet-lane")}) == 2
    assert [epoch.epoch for epoch in after] == list(range(len(after)))  # flow after flow, as one by one
    assert [epoch.loss for epoch in after] == [epoch.loss for epoch in before]
    assert torch.get_num_threads() == TORCH_THREADS


def test_when_one_flow_fails_the_other_is_given_up(monkeypatch):
    """The error is the one that was met, and no thread goes on."""

    def stop(epoch, total):
        raise KeyboardInterrupt

    monkeypatch.setattr(threads, "cores", lambda: 2)
    detector = DifferNet("default", 0, "random", **(COMBINED | {"rotation": "none", "epochs": 500}))
    with pytest.raises(KeyboardInterrupt):
        detector.fit(GOOD, on_epoch=stop)
    assert not [one for one in threading.enumerate() if one.name.startswith("differnet-lane")]


def test_a_bank_of_turned_views_is_learned_from_without_a_copy(monkeypatch):
    taken = []
    whole = fitting.Fitter._source

    def noted(fitter, images, bank, read):
        source = whole(fitter, images, bank, read)
        taken.append(source.rows.data_ptr() == bank.data_ptr())
        return source

    monkeypatch.setattr(fitting.Fitter, "_source", noted)
    fitted(rotation="full", train_views=6, score_views=8, score_rotations="random")
    assert taken == [True] * 3


@pytest.mark.parametrize("name", ["upright", "turned"])
def test_maps_show_the_defect(name, request):
    detector = request.getfixturevalue(name)
    for index in (1, 2):
        image, mask = defective_image(index)
        heat = detector.localize(image)
        assert heat[mask].mean() > 2 * heat[~mask].mean()


def test_a_map_is_of_shares_and_of_cells(upright):
    """And of shares alone in a model of before, which draws as it did."""
    image, _ = defective_image(1)
    model, settings = upright.model, upright.settings
    localizer = scoring.localizer_of(model, upright.module, upright.describer)
    square = upright.describer.square(image)
    view = render(square, even_views(1, settings.views), settings.views.fill)
    plain = localize.contribution_maps(view, upright.module, model.fusion, settings.maps.blur)[0]
    close = {"rtol": 1e-4, "atol": 1e-4 * float(plain.max())}  # turning back by 0 resamples
    torch.testing.assert_close(replace(localizer, cells=None).of_square(square), plain, **close)
    maps, shares = localize.shares_of(view, upright.module, model.fusion)
    sharp = localize.gaussian_blur(model.cells.of_tile(0).sharpened(maps, shares), settings.maps.blur)[0, 0]
    torch.testing.assert_close(localizer.of_square(square), sharp, **close)
    assert float(sharp.max()) > 1.5 * float(plain.max())  # where cells are far from what is usual


def test_shares_of_a_map_are_a_feature_each_and_grow_with_the_size(upright):
    widths = [read.features for read in upright.model.fusion.reads]
    wanted = [loud / width for loud, width in zip((0.3, 2, 1), widths, strict=True)]
    assert upright.model.fusion.shares([64, 32]) == pytest.approx(wanted)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"grid": 1}, "needs a grid"),
        ({"start": "random", "noise": 0}, "needs start = 'gaussian'"),
        ({"fresh_views": True}, "fresh_views"),
        ({"plain_first": False}, "plain_first"),
    ],
)
def test_what_does_not_go_together_is_refused(change, words):
    with pytest.raises(ConfigError, match=words):
        DifferNet("default", 0, "random", **(COMBINED | change))


def test_the_learner_watches_all_flows(upright):
    """Who looks on while flows are trained sees a detector at every epoch."""
    seen = []
    detector = upright
    bank = torch.stack([detector.describe(image)[:1] for image in GOOD])

    def watch(fusion, done, total):
        norms = fusion(bank.flatten(0, 1))
        seen.append((done, total, tuple(norms.shape), bool(torch.isfinite(norms).all())))

    settings, reads = detector.settings, detector.model.fusion.reads
    learner = Learner(settings, reads, 0, "cpu", "", lambda epoch, total: None, watch)
    rows = bank.flatten(0, 1)
    sources = [Bank(rows, 16, 0, reads[0].rows), *(Parts(rows, read.columns, 16, 0) for read in reads[1:])]
    learner.learn(sources, None)
    total = len(seen)
    assert seen == [(index + 1, total, (1, 20, 3), True) for index in range(total)]


class Endless(Parts):
    """An epoch that ends when it is given up, or after 20 seconds, which is a failure."""

    def batches(self, epoch):
        until = time.monotonic() + 20
        while time.monotonic() < until:
            yield from super().batches(epoch)
        raise AssertionError("a flow went on though the other had failed")


class Failing(Parts):
    def batches(self, epoch):
        yield from itertools.islice(super().batches(epoch), 2)
        raise NumericalError("as wanted")


@pytest.mark.parametrize("kinds", [(Endless, Failing), (Failing, Endless)])
def test_the_first_failure_is_heard_at_once_and_the_other_flow_ends_within_its_epoch(
    kinds, upright, monkeypatch
):
    monkeypatch.setattr(threads, "cores", lambda: 2)
    rows = torch.cat([upright.describe(image)[:1] for image in GOOD])
    settings, reads = upright.settings, upright.model.fusion.reads
    parts = [kind(rows, read.columns, 16, 0) for kind, read in zip(kinds, reads[1:], strict=True)]
    learner = Learner(settings, reads, 0, "cpu", "", lambda epoch, total: None, unwatched)
    with pytest.raises(NumericalError, match="as wanted"):
        learner.learn([Bank(rows, 16, 0, reads[0].rows), *parts], None)
    assert not [one for one in threading.enumerate() if one.name.startswith("differnet-lane")]


def test_epochs_are_told_by_one_flow_at_a_time(monkeypatch):
    busy, seen = threading.Lock(), []

    def tell(epoch, total):
        seen.append(busy.acquire(blocking=False))
        time.sleep(0.01)
        busy.release()

    monkeypatch.setattr(threads, "cores", lambda: 2)
    DifferNet("default", 0, "random", **(COMBINED | {"rotation": "none", "epochs": 10})).fit(
        GOOD, on_epoch=tell
    )
    assert len(seen) > 10
    assert all(seen)


def test_a_file_from_before_neighbours_judges_by_norms_alone(upright, tmp_path):
    upright.save(tmp_path / "m.safetensors")

    def as_before(header, tensors):
        del header["config"]["reading"]["neighbours"], tensors["neighbours1"], tensors["neighbours2"]

    rewrite(tmp_path / "m.safetensors", as_before)
    before = DifferNet.load(tmp_path / "m.safetensors", "random")
    assert not any(before.settings.neighbours)
    reads = fastest(upright.model.fusion, upright.describer.runtime, "cpu")
    for image in OTHERS:
        norms = reads(upright.describe(image)).numpy()[..., :3]
        assert before.score(image)[0] == pytest.approx(np.exp(np.log(norms).mean(axis=2)).mean(), rel=1e-9)


@pytest.mark.parametrize(
    ("name", "value", "match"),
    [
        ("neighbours1", None, "'neighbours1' is missing"),
        ("neighbours2", torch.zeros(3, 7).half(), "do not fit together"),
        ("neighbours2", torch.zeros(3, 64), "do not fit together"),
    ],
)
def test_neighbours_of_a_file_that_do_not_fit_are_refused(name, value, match, upright, tmp_path):
    upright.save(tmp_path / "m.safetensors")

    def change(header, tensors):
        del tensors[name]
        tensors |= {} if value is None else {name: value}

    rewrite(tmp_path / "m.safetensors", change)
    with pytest.raises(ModelFileError, match=match):
        DifferNet.load(tmp_path / "m.safetensors", "random")


def test_without_neighbours_there_are_norms_alone(tmp_path):
    plain = fitted(rotation="none", train_views=1, score_rotations="even", neighbours=0)
    assert plain.model.fusion.neighbours == {}
    assert plain.model.fusion(plain.describe(OTHERS[0])).shape == (1, 1, 3)
    plain.save(tmp_path / "m.safetensors")
    assert np.array_equal(
        DifferNet.load(tmp_path / "m.safetensors", "random").score(OTHERS), plain.score(OTHERS)
    )


def test_a_part_unlike_any_good_one_is_far_and_good_parts_are_near(upright):
    read = upright.model.fusion(
        torch.cat([upright.describe(image) for image in (GOOD[0], OTHERS[1])])
    ).numpy()[0]
    good, defective = read[:, 3:]
    assert (defective > good).all()
