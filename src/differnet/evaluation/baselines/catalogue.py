"""The methods that can be compared, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from differnet.config import presets
from differnet.errors import ConfigError
from differnet.evaluation.baselines import classical, peer_flows, peers
from differnet.evaluation.baselines.adgan import AdGan
from differnet.evaluation.baselines.dsebm import Dsebm
from differnet.evaluation.baselines.ganomaly import Ganomaly
from differnet.evaluation.baselines.geotrans import GeoTrans
from differnet.evaluation.baselines.method import Method
from differnet.evaluation.baselines.ours import Ours

Preset = str | presets.Config
Maker = Callable[[Preset, str | None], Method]

METHODS: Mapping[str, Maker] = MappingProxyType(
    {
        "differnet": Ours,
        "ocsvm": classical.OneClassSvm,
        "1nn": classical.NearestNeighbour,
        "mahalanobis": classical.Mahalanobis,
        "geotrans": lambda preset, weights: GeoTrans(),
        "ganomaly": lambda preset, weights: Ganomaly(),
        "dsebm": lambda preset, weights: Dsebm(),
        "adgan": lambda preset, weights: AdGan(),
        "padim": lambda preset, weights: peers.Padim(weights),
        "patchcore": lambda preset, weights: peers.Patchcore(weights),
        "cflow": lambda preset, weights: peer_flows.Cflow(weights),
        "fastflow": lambda preset, weights: peer_flows.Fastflow(weights),
    }
)

_SMALL = "a small network on 32 x 32 pixels, trained on the CPU for minutes"
_WITH_MAP = "ms with its map"
REMARKS: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(("geotrans", "ganomaly", "dsebm", "adgan"), _SMALL),
        "padim": _WITH_MAP,
        "patchcore": f"a coreset that a CPU can choose; {_WITH_MAP}",
        **dict.fromkeys(("cflow", "fastflow"), f"trained on the CPU for minutes; {_WITH_MAP}"),
    }
)


def create(name: str, preset: Preset = "default", weights: str | None = None) -> Method:
    """Return a method that has learned nothing yet.

    ``preset``: settings of the detector, whose features the classical methods read. ``weights``: a file of backbone
    weights, or ``"random"``. Raises :class:`ConfigError` for an unknown name and :class:`MissingExtraError` for one
    that needs a package which is not installed.

    >>> create("knn")
    Traceback (most recent call last):
        ...
    differnet.errors.ConfigError: There is no method 'knn'; there are: differnet, ocsvm, 1nn, mahalanobis, geotrans, \
ganomaly, dsebm, adgan, padim, patchcore, cflow, fastflow
    """
    if name not in METHODS:
        raise ConfigError(f"There is no method {name!r}; there are: {', '.join(METHODS)}")
    return METHODS[name](preset, weights)
