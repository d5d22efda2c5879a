"""Random generators for a purpose: the same seed, purpose and indices give the same numbers anywhere."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from differnet.errors import ConfigError


def check_seed(seed: int) -> None:
    """Raise :class:`ConfigError` for a number that torch's generators do not take."""
    if not 0 <= seed < 2**64:
        raise ConfigError(f"seed = {seed}: a whole number from 0 and below 2**64 was wanted")


def generator(seed: int, purpose: str, *indices: int) -> torch.Generator:
    """Return a torch generator for one purpose, independent of all others.

    >>> a, b = generator(0, "views", 3), generator(0, "views", 3)
    >>> bool(torch.equal(torch.rand(2, generator=a), torch.rand(2, generator=b)))
    True
    """
    entropy = [seed, zlib.crc32(purpose.encode()), *indices]
    state = np.random.SeedSequence(entropy).generate_state(2, dtype=np.uint32)
    return torch.Generator().manual_seed(int(state[0]) << 31 | int(state[1]) >> 1)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed the global generators of torch and NumPy, for code that draws from them, and put them back after."""
    before = np.random.get_state()  # noqa: NPY002
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        try:
            yield
        finally:
            np.random.set_state(before)  # noqa: NPY002
