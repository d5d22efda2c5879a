"""A detector with the manners of scikit-learn's outlier detectors: for pipelines, cross-validation and searches."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, OutlierMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from differnet.data.images import ImageLike
from differnet.detector.detector import DifferNet
from differnet.errors import ConfigError, ShapeError

Images = npt.NDArray[Any] | Sequence[ImageLike]


class DefectDetector(OutlierMixin, BaseEstimator):  # type: ignore[misc]
    """:class:`differnet.DifferNet` as an outlier detector of scikit-learn; an image is a sample.

    ``X`` is an array of images (n, H, W) or (n, H, W, 3), or a list (or array) of n paths, arrays or PIL images, which
    may differ in size. ``preset``: settings to start from; ``settings``: single ones by name over it, such as
    ``{"epochs": 5}``; ``rate``: the false-alarm rate wanted, what others call contamination, but of good images.
    ``weights``, ``device``: as of :class:`~differnet.DifferNet`. ``random_state``: a seed, a generator to draw one from
    at each fit, or ``None``.

    After ``fit`` there are ``detector_``, the detector itself, with heat maps and a model file, and ``offset_``. As in
    scikit-learn larger is more normal: ``score_samples`` is -tau(x) of eq. 5, ``decision_function`` is that less
    ``offset_``, and ``predict`` says -1 (defective) where it is below 0, which is where the detector says so, bit for
    bit. ``y`` is ignored: fit to good images alone.

    Of scikit-learn's common checks, those that need no samples hold, and those of fitting and judging hold with images
    for rows (tests/estimator). These make no sense: checks by samples of a few numbers (n, features) and by
    ``n_features_in_`` or names of features, since an image is no row of numbers; of sparse matrices and of complex or
    text columns; that NaN is refused by scikit-learn's words, where the errors of this package name the image; that a
    single sample, or a handful, can be fitted, since a threshold wants images to hold out.

    >>> DefectDetector(rate=0.05, settings={"epochs": 5})
    DefectDetector(rate=0.05, settings={'epochs': 5})
    """

    def __init__(
        self,
        preset: str = "default",
        *,
        rate: float | None = None,
        settings: Mapping[str, Any] | None = None,
        weights: str | None = None,
        device: str = "cpu",
        random_state: int | np.random.RandomState | None = 0,
    ) -> None:
        self.preset = preset
        self.rate = rate
        self.settings = settings
        self.weights = weights
        self.device = device
        self.random_state = random_state

    def fit(self, X: Images, y: Any = None, groups: Sequence[Hashable] | None = None) -> DefectDetector:  # noqa: ARG002
        """Learn from good images and return the estimator itself.

        ``groups`` (n,): images of one part or shoot, which are held out together; scikit-learn passes them on where
        they are asked for by ``set_fit_request(groups=True)``. Raises as :meth:`differnet.DifferNet.fit` does.
        """
        images = _listed(X)
        if groups is not None and len(groups) != len(images):
            raise ConfigError(f"{len(groups)} groups for {len(images)} images; one for each was wanted")
        given = dict(self.settings or {}) | ({} if self.rate is None else {"rate": self.rate})
        detector = DifferNet(self.preset, self._seed(), self.weights, self.device, **given)
        labels = (
            None if groups is None else [one.item() if isinstance(one, np.generic) else one for one in groups]
        )
        self.detector_ = detector.fit(images, labels)
        self.offset_ = np.nan if detector.threshold is None else _just_above(-detector.threshold)
        return self

    def score_samples(self, X: Images) -> npt.NDArray[np.float64]:
        """Return -tau(x) of each image, (n,): larger is more like the good images."""
        check_is_fitted(self)
        return -self.detector_.score(_listed(X))

    def decision_function(self, X: Images) -> npt.NDArray[np.float64]:
        """Return :meth:`score_samples` less ``offset_``, (n,): below 0 an image is called defective.

        Raises :class:`ConfigError` where no image was held out, so that there is no threshold.
        """
        check_is_fitted(self)
        if np.isnan(self.offset_):
            raise ConfigError(
                "no threshold: none of the images was held out; fit with holdout or folds above 0"
            )
        return self.score_samples(X) - self.offset_

    def predict(self, X: Images) -> npt.NDArray[np.int64]:
        """Return 1 for each image that is called good and -1 for each that is called defective, (n,)."""
        return np.where(self.decision_function(X) < 0, -1, 1)

    def _seed(self) -> int:
        if isinstance(self.random_state, int | np.integer):
            return int(self.random_state)
        return int(check_random_state(self.random_state).randint(2**31 - 1))

    def __sklearn_tags__(self) -> Any:
        """Say that samples are images or paths, and no rows of numbers."""
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.input_tags.three_d_array = tags.input_tags.string = True
        tags.no_validation = True  # the package's own, which names the image
        return tags


def _just_above(value: float) -> float:
    """Return the next larger number, so that a score that is the threshold itself lies below the offset."""
    return float(np.nextafter(value, np.inf))


def _listed(X: Images) -> list[Any]:
    """Return images one by one; raises :class:`ShapeError` for what holds none of them."""
    if isinstance(X, str | bytes) or not hasattr(X, "__len__"):
        raise ShapeError(f"X is {type(X).__name__}; an array of images or a list of paths was wanted")
    if isinstance(X, np.ndarray) and X.dtype.kind not in "OU" and X.ndim not in (3, 4):
        raise ShapeError(f"X of shape {X.shape}; images (n, H, W) or (n, H, W, 3) were wanted")
    if not len(X):
        raise ShapeError("X is empty; at least one image was wanted")
    if isinstance(X, np.ndarray) and X.dtype.kind in "OU":
        return [str(one) if isinstance(one, np.str_) else one for one in X.ravel()]
    return list(X)
