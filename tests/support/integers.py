"""The smallest network that can be quantised: the tiny random backbone cannot."""

from __future__ import annotations

import warnings

from differnet import DifferNet, DifferNetWarning
from support.tiny import TINY

SMALL = TINY | {
    "backbone": "efficientnet_lite0",
    "stages": [3],
    "precision": "int8",
    "runtime": "auto",
    "epochs": 12,
}


def quiet_fit(images, **settings):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DifferNetWarning)
        return DifferNet("default", seed=1, **SMALL | settings).fit(images, scale_maps=False)
