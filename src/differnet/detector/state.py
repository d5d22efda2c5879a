"""What a detector holds: what was asked for, and one state; nothing, prepared, or fitted."""

from __future__ import annotations

import os
import threading
from functools import cached_property
from typing import TYPE_CHECKING, Any

from torch import Tensor

from differnet.config import presets
from differnet.config.settled import Settled, implied, settle
from differnet.data import square
from differnet.data.images import ImageLike
from differnet.detector import model as models
from differnet.detector import model_file
from differnet.detector import prepare as preparing
from differnet.detector.model import Model
from differnet.detector.prepare import Fitted, Prepared
from differnet.detector.scoring import Count, scoring_views
from differnet.errors import ConfigError, NotFittedError
from differnet.features.backbone import network, torch_runtime
from differnet.features.describer import Describer
from differnet.features.seeds import check_seed
from differnet.features.views import ViewSet
from differnet.runtime import threads

if TYPE_CHECKING:
    from typing_extensions import Self

_TRACING = threading.RLock()


class DetectorState:
    """The settings that were asked for, and what is known by now; all else follows from these two."""

    def __init__(
        self,
        preset: str | presets.Config = "default",
        seed: int = 0,
        weights: str | os.PathLike[str] | None = None,
        device: str = "cpu",
        **settings: Any,
    ) -> None:
        self._asked = presets.resolve(preset, square.with_mask_as_text(settings))
        check_seed(seed)
        self.seed = seed
        self.device = torch_runtime.check_device(device)
        self._weights = None if weights is None else os.fspath(weights)
        self._state: Prepared | Fitted | None = None
        self._shown: dict[Count, ViewSet] = {}
        self._generation = threads.generation()
        threads.mind_forks()

    def __copy__(self) -> DetectorState:
        """Return a detector that shares the model and goes its own way from here on."""
        other = object.__new__(type(self))
        vars(other).update(vars(self))
        return other

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle and copy through the bytes of a model file; images that were only prepared by are not kept.

        Raises :class:`NotFittedError` for a detector that is prepared and not fitted.
        """
        if isinstance(self._state, Prepared):
            raise NotFittedError(
                "a detector that is prepared and not fitted cannot be pickled or copied: fit it first, or make another "
                "one (DifferNet(...), sibling())"
            )
        content = None if self._state is None else model_file.to_bytes(self.model)
        return _restored, (type(self), self._asked, self.seed, self._weights, self.device, content)

    @property
    def config(self) -> presets.Config:
        """What was asked for, with what was found out, as far as it is, in the place of what is open."""
        if isinstance(self._state, Fitted):
            return self._state.model.config
        return implied(self._asked) if self._state is None else self._state.settings.config

    @property
    def settings(self) -> Settled:
        """The settings, nothing open; raises :class:`NotFittedError` while something is to be found out."""
        return self.model.settings if isinstance(self._state, Fitted) else settle(self.config)

    @property
    def model(self) -> Model:
        """The fitted part; raises :class:`NotFittedError` before ``fit`` or ``load``."""
        if not isinstance(self._state, Fitted):
            raise NotFittedError(
                "this detector has learned nothing yet: call fit(images) or differnet.load(path)"
            )
        return self._state.model

    @cached_property
    def module(self) -> network.MultiScale:
        """The frozen backbone as a torch module: what runtimes are converted from, and the measure of heat maps.

        Raises :class:`WeightsError` when its weights are not those that the model was fitted with.
        """
        if isinstance(self._state, Fitted):
            return models.backbone_of(self._state.model, self._weights).to(self.device)
        return network.build(self.config.backbone, self._weights).to(self.device)

    @property
    def describer(self) -> Describer:
        """From images to features, in the runtime and precision of the configuration or of the model."""
        with _TRACING:  # a network is traced by one thread alone
            self._mind_fork()
            if self._state is None:
                self._state = preparing.without_images(self._asked, lambda: self.module, self.device)
            known = self._state.describer
            if known is None:
                known = preparing.describer_for(self.model, lambda: self.module, self.device)
                self._state = Fitted(self.model, known, self._prepared)
            return known

    @property
    def scoring_views(self) -> ViewSet:
        """The views every image is scored in; they come from the configuration and the seed alone."""
        return self._views(None)

    def _mind_fork(self) -> None:
        """Make anew what describes, in a process that was forked since it was made."""
        if self._generation == threads.generation():
            return
        self._generation = threads.generation()
        threads.keep_lost((self._state, vars(self).get("module")))
        if isinstance(self._state, Fitted):
            self._state = Fitted(self._state.model)
        elif isinstance(self._state, Prepared):
            self._state = preparing.anew(self._state, lambda: self.module, self.device)

    def _with_mask(self, ignore: ImageLike, bank: Tensor | None) -> Self:
        """Return a detector that was asked for the same and looks past the white part of ``ignore``."""
        if bank is not None:
            raise ConfigError(
                "ignore and bank were given, and the features of a bank hang on what is looked at: give the image when "
                "the detector is made, DifferNet(ignore=...), and describe with that"
            )
        return type(self)(self._asked, self.seed, self._weights, self.device, ignore=ignore)

    def _taking(self, other: Self) -> Self:
        """Become what ``other`` is, and return itself."""
        vars(self).update(vars(other))
        return self

    def _become(self, state: Prepared | Fitted) -> None:
        """Go on with another state; the scoring views hang on its settings."""
        self._state, self._shown = state, {}

    @property
    def _prepared(self) -> Prepared | None:
        """What images told before a fit, or nothing where a fit finds that out by itself."""
        self._mind_fork()
        return self._state.prepared if isinstance(self._state, Fitted) else self._state

    def _known(self) -> Prepared | None:
        """What another fit on the same backbone can start from."""
        if isinstance(self._state, Fitted):
            model = self._state.model
            here = model.settings, self.describer, model.graph, model.choice
            looked = self._state.looked_at
            return Prepared(*here, picture_shape=model.picture_shape, looked_at=looked)
        if self._state is None and preparing.is_ready(self._asked, self.device):
            return preparing.without_images(self._asked, lambda: self.module, self.device)
        return self._state

    def _views(self, count: Count) -> ViewSet:
        """Return the first ``count`` scoring views."""
        if count not in self._shown:
            self._shown[count] = scoring_views(self.settings.views, self.seed, count)  # type: ignore[arg-type]
        return self._shown[count]


def _restored(
    kind: type[DetectorState],
    asked: presets.Config,
    seed: int,
    weights: str | None,
    device: str,
    content: bytes | None,
) -> DetectorState:
    """Undo :meth:`DetectorState.__reduce__`."""
    detector = kind(asked, seed, weights, device)
    if content is not None:
        model = model_file.load("a pickled detector", content)
        model.fusion.to(device)
        detector._state = Fitted(model)
    return detector
