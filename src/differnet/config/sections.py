"""The sections of a configuration: frozen value objects whose fields say what they change and how."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from differnet.config.shape import LARGEST_SQUARE, LONGEST

strict = ConfigDict(extra="forbid", allow_inf_nan=False)
RuntimeName = Literal["auto", "torch", "openvino", "onnxruntime"]
PrecisionName = Literal["auto", "f32", "f16", "bf16", "int8"]
Positive = Annotated[int, Field(ge=1, le=1_000_000)]
Factors = Annotated[tuple[float, float], Field(description="lowest and highest factor")]


def _check_factors(name: str, factors: tuple[float, float]) -> None:
    if not 0 < factors[0] <= factors[1]:
        raise ValueError(f"{name} must be (low, high) with 0 < low <= high, not {factors}")


@dataclass(frozen=True, config=strict)
class Views:
    """Which transformed copies of an image are looked at (sections 3.2 and 4.2 of the paper).

    ``rotation``: ``"full"`` turns by any angle, ``"none"`` leaves images upright, ``"auto"`` finds out from the good
    images (:mod:`differnet.detector.tuning.choice`). ``brightness`` and ``contrast``: least and largest factor, drawn
    for each random view; a view without jitter has none, such as the single one where nothing turns and parts are read.
    ``fill`` is what stands outside the turned image: ``"zeros"`` is black, as in the paper; ``"reflection"`` mirrors
    the image; ``"border"`` repeats its rim. ``score_rotations``: images are scored in ``"random"`` views drawn once
    from the model's seed, or in ``"even"``ly spaced rotations without jitter: one where nothing turns. ``"auto"``,
    there and for ``train_views``, follows the rotation: one upright view to score and 4 to fit, or random ones and 32;
    ``"few"`` is 2 or 8. With ``pooling="combined"`` it is one view to fit, or 17. ``plain_first``: the first of random
    views is the image as it is. ``frame``: how a picture gets into its square: ``"squash"`` changes its aspect ratio,
    as in the paper; ``"pad"`` keeps it, between black bars. ``resampling``: whether a picture that was brought to its
    square is rounded to ``"bytes"``, or stays in ``"floats"``: rounding is noise, which a turn smooths away.
    ``aspect``: height over width of what the network sees; 1 is the square of the paper, and anything else an oblong of
    the same area, only where views do not turn. ``"auto"`` follows the good images where all are long
    (:mod:`differnet.config.shape`). ``white``: which level is white in pictures of more than eight bits: a number, or
    ``"auto"`` for the end of the smallest range that holds all training pictures, or that their files state
    (:mod:`differnet.data.formats.levels`); ``"type"`` is the end of the range of the numbers, which is what ``"auto"``
    becomes where all have eight bits, and ``"picture"`` lets the brightest pixel of each decide, as models of before
    do. ``beyond``: whether brighter pixels ``"saturate"``, which is said, or their picture is refused. ``ignore``: a
    mask of what does not matter, as :func:`differnet.data.square.encode` makes it.
    """

    rotation: Literal["auto", "full", "none"] = "full"
    brightness: Factors = (0.85, 1.15)
    contrast: Factors = (0.85, 1.15)
    fill: Literal["zeros", "reflection", "border"] = "zeros"
    fresh_views: bool = False
    plain_first: bool = False
    train_views: Literal["auto", "few"] | Positive = 32
    score_views: Annotated[int, Field(ge=1, le=10_000)] = 16
    score_rotations: Literal["auto", "random", "even"] = "random"
    frame: Literal["squash", "pad"] = "squash"
    resampling: Literal["bytes", "floats"] = "bytes"
    aspect: Literal["auto"] | Annotated[float, Field(ge=1 / LONGEST, le=LONGEST)] = 1.0
    white: Literal["auto", "type", "picture"] | Annotated[float, Field(gt=0, le=2**32)] = "auto"
    beyond: Literal["saturate", "refuse"] = "saturate"
    ignore: Annotated[str, Field(pattern="^png:", max_length=200_000)] | None = None

    def __post_init__(self) -> None:
        _check_factors("brightness", self.brightness)
        _check_factors("contrast", self.contrast)
        if self.rotation == "full" and self.aspect not in (1, "auto"):
            raise ValueError(f"aspect = {self.aspect} needs rotation = 'none': views that turn are squares")


@dataclass(frozen=True, config=strict)
class Backbone:
    """The frozen network that describes views.

    ``stages``: whose feature maps are pooled, in order; for ``efficientnet_lite0`` the indices of timm's ``blocks``;
    for other timm names those into ``feature_info``, and of vision transformers the blocks; ``alexnet`` has one, so
    ``(0,)``. ``grid``: 1 pools over the whole image alone, as in the paper; n also over each of n x n parts of it.
    ``sizes``: side lengths in pixels, largest first, for vision transformers multiples of the patch; every view is
    rendered at the first. With another ``aspect`` than 1 they are those of squares of the same area, and parts of the
    grid are about as many and about square. ``tiles``: n cuts a picture into n x n pieces, each of which is looked at
    by itself and at that size; the score is that of the most anomalous one. ``"auto"`` follows the good images where
    views do not turn, and is 1 where they do (:func:`differnet.config.shape.tiling_of`). ``runtime``: where it runs;
    ``precision``: in which numbers. ``"auto"`` takes the fastest that is installed: on a CPU OpenVINO, in 8-bit
    integers where views turn and there is one reading. ``"f16"`` is PyTorch's mixed precision, for GPUs; ``"bf16"`` is
    OpenVINO's, for CPUs that compute in it themselves: as fast as integers and ready at once, but bound to such CPUs.
    """

    backbone: Annotated[str, Field(min_length=1)] = "efficientnet_lite0"
    stages: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1)] = (5,)
    grid: Annotated[int, Field(ge=1, le=8)] = 1
    sizes: Annotated[tuple[Annotated[int, Field(ge=16, le=4096)], ...], Field(min_length=1)] = (
        448,
        224,
        112,
    )
    tiles: Literal["auto"] | Annotated[int, Field(ge=1, le=8)] = 1
    runtime: RuntimeName = "auto"
    precision: PrecisionName = "auto"

    def __post_init__(self) -> None:
        if list(self.sizes) != sorted(set(self.sizes), reverse=True):
            raise ValueError(f"sizes must be different and largest first, not {self.sizes}")
        if self.tiles != "auto" and self.tiles * self.sizes[0] > LARGEST_SQUARE:
            raise ValueError(
                f"tiles * sizes[0] = {self.tiles * self.sizes[0]}: at most {LARGEST_SQUARE} pixels"
            )
        if list(self.stages) != sorted(set(self.stages)):
            raise ValueError(f"stages must be different and in order, not {self.stages}")


@dataclass(frozen=True, config=strict)
class Reading:
    """Which of the pooled features the flow maps, and how they become the score of a view.

    ``read_stages``: ``"all"`` or some of ``stages``. ``pooling``: ``"whole"`` maps what was pooled over the whole image
    (the paper); the others map each part of the ``grid`` by the same flow, and the view has the score of its
    ``"largest"`` part or their ``"average"``. ``"combined"`` does the first two and puts them together: the whole image
    at all ``sizes`` is judged by its Gaussian, the parts at each size by a flow of their own that learns one row a
    part, and the score is the geometric mean of what they say (:mod:`differnet.flow.fusion`). ``"auto"`` finds out
    which single one from the good images (:mod:`differnet.detector.tuning.choice`). ``neighbours``: with
    ``"combined"``, so many latents of good parts are kept of each flow of parts, and how far the most anomalous parts
    are from the nearest one is a reading more (:mod:`differnet.flow.neighbours`); 0 for none, and without meaning for
    other poolings.
    """

    read_stages: Literal["auto", "all"] | tuple[int, ...] = "all"
    pooling: Literal["auto", "whole", "largest", "average", "combined"] = "whole"
    neighbours: Annotated[int, Field(ge=0, le=10_000)] = 0


@dataclass(frozen=True, config=strict)
class Flow:
    """The shape of the normalizing flow (section 3.1.1): defaults are the paper's.

    ``start``: ``"random"`` weights, as in the paper, or ``"gaussian"``: features are whitened first, and the blocks
    start as the identity, so that the flow begins as a Mahalanobis distance. ``"auto"`` for ``blocks`` and ``hidden``
    follows the rotation: 4 and 128 where views do not turn, 8 and 256 where they do, which is harder to learn.
    ``flows``: so many flows in one model, with permutations and weights of their own, whose scores are averaged.
    """

    blocks: Literal["auto"] | Annotated[int, Field(ge=1, le=256)] = 8
    hidden: Literal["auto"] | Annotated[int, Field(ge=1, le=65536)] = 2048
    depth: Annotated[int, Field(ge=0, le=64)] = 3
    clamp: Annotated[float, Field(gt=0)] = 3.0
    start: Literal["random", "gaussian"] = "random"
    flows: Annotated[int, Field(ge=1, le=64)] = 1

    def __str__(self) -> str:
        several = f"{self.flows} flows of " if self.flows > 1 else ""
        return f"{several}{self.blocks} blocks of {self.depth} x {self.hidden}"


@dataclass(frozen=True, config=strict)
class Training:
    """How the flow is fitted (section 4.2).

    ``batch`` counts views. ``min_steps``: with few images, epochs are added until there were that many optimisation
    steps; the last epoch ends at that step. ``views_per_step``: with fresh views, how many views of one image stand in
    a batch together. ``schedule``: ``"constant"``, or ``"one-cycle"``, which warms up over the first 30 % of the steps
    and anneals to nearly zero by a cosine. ``noise``: standard deviation of what is added to the whitened features of
    every batch, 1 being that of the features; only with ``start="gaussian"``. ``"auto"`` adds some where views do not
    turn, since turned views differ enough, and with ``pooling="combined"``. ``length``: the share of the schedule that
    is run, 0 leaving the flow as it starts; ``"auto"`` finds it out from the good images
    (:mod:`differnet.detector.tuning.length`); ``"quick"`` is all of it where views turn, and nothing where they do not.
    With ``pooling="combined"``, ``batch`` counts parts of views, and all of the schedule is run where ``length`` is
    open.
    """

    epochs: Annotated[int, Field(ge=0)] = 192
    min_steps: Annotated[int, Field(ge=0, le=10_000_000)] = 0
    batch: Positive = 96
    views_per_step: Positive = 4
    learning_rate: Annotated[float, Field(gt=0)] = 2e-4
    schedule: Literal["constant", "one-cycle"] = "constant"
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = (0.8, 0.8)
    eps: Annotated[float, Field(gt=0)] = 1e-4
    weight_decay: Annotated[float, Field(ge=0)] = 1e-5
    noise: Literal["auto"] | Annotated[float, Field(ge=0)] = 0.0
    length: Literal["auto", "quick"] | Annotated[float, Field(ge=0, le=1)] = 1.0


@dataclass(frozen=True, config=strict)
class Maps:
    """Heat maps: how many evenly spaced rotations, by which gradient, and the blur in pixels.

    ``gradient``: to the ``"pixels"`` is eq. 7 (section 3.3); to the ``"features"`` shares the score out among the
    cells of the feature maps (:mod:`differnet.flow.localize`), which finds more and takes a twentieth of the time, but
    needs ``start="gaussian"``. ``"auto"`` is to the features where that can be. ``blur``: standard deviation in
    pixels of the largest input; ``"auto"`` is 4 for pixels, as there are, and 12 for features, which are coarser, or 6
    with ``pooling="combined"``.
    """

    map_views: Annotated[int, Field(ge=1, le=1_000)] = 4
    blur: Literal["auto"] | Annotated[float, Field(gt=0)] = "auto"
    gradient: Literal["auto", "features", "pixels"] = "auto"


@dataclass(frozen=True, config=strict)
class Decision:
    """How the threshold is found: the share of good images held out and the false-alarm rate wanted.

    ``holdout=0`` fits on all images and leaves the detector without a threshold. ``confidence``: nothing promises
    ``rate`` on average over calibration sets; a number promises it for the set at hand, with that confidence
    (:mod:`differnet.decision.thresholds`). ``review_rate``: a higher rate, whose threshold is promised in the same
    way: what lies between the two is for a person to look at. Nothing: two answers only. ``folds``: where images are
    scarce, none is held out for good; each is scored by a flow fitted to the other folds, and the flow that judges is
    fitted to all. That takes ``folds`` more trainings and leaves an estimate in place of a proof. ``sisters``: whether
    images that belong together are looked for where no groups are given (:mod:`differnet.data.sisters.find`), so that
    they stay on one side; ``"ignore"`` takes each image as independent.
    """

    holdout: Annotated[float, Field(ge=0, lt=1)] = 0.2
    rate: Annotated[float, Field(gt=0, lt=1)] = 0.01
    confidence: Annotated[float, Field(gt=0, lt=1)] | None = None
    review_rate: Annotated[float, Field(gt=0, lt=1)] | None = None
    folds: Annotated[int, Field(ge=0, le=1000)] = 0
    sisters: Literal["find", "ignore"] = "find"

    def __post_init__(self) -> None:
        if self.review_rate is not None and self.review_rate <= self.rate:
            raise ValueError(f"review_rate = {self.review_rate} must be above rate = {self.rate}")
        if self.folds == 1:
            raise ValueError("folds = 1: 0 for none, or a number from 2, was wanted")

    @property
    def is_calibrated(self) -> bool:
        """Whether a fit gives a threshold."""
        return self.holdout > 0 or self.folds > 0
