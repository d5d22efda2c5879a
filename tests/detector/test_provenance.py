"""The record of the images that a model has seen, and of their groups."""

from __future__ import annotations

import numpy as np
import pytest

from differnet.detector import provenance


@pytest.mark.parametrize("groups", [["a", "a", "b"], [1, 1, 2]])
def test_groups_in_an_array_are_those_of_a_list(groups):
    made = [provenance._sources(["x"], [], some).groups for some in (groups, np.array(groups))]
    assert made[0] == made[1]
    assert provenance._sources(["x"], [], None).groups == ()
