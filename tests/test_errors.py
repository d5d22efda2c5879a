"""A warning stands at the line outside of the package that led to it, however deep it was raised."""

from __future__ import annotations

import inspect
import warnings
from dataclasses import replace
from pathlib import Path

from differnet.errors import DifferNetWarning, warn
from support.tiny import SMALL, good_image


def line_and_file(said):
    (one,) = said
    return one.lineno, Path(one.filename)


def test_a_warning_names_the_line_of_the_caller():
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        wanted = inspect.currentframe().f_lineno + 1
        warn("weak")
    assert line_and_file(said) == (wanted, Path(__file__))
    assert said[0].category is DifferNetWarning


def test_it_does_so_through_layers_and_decorators():
    from differnet import DifferNet
    from differnet.detector.prepare import Fitted

    fitted = DifferNet("default", 1, "random", **SMALL | {"holdout": 0.5, "rate": 0.4})
    fitted.fit([good_image(i) for i in range(12)], scale_maps=False)
    fitted._state = Fitted(
        replace(fitted.model, runtime="another")
    )  # what describes is made when it is asked for
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        wanted = inspect.currentframe().f_lineno + 1
        fitted.describe(good_image(99))
    assert line_and_file(said) == (wanted, Path(__file__))
