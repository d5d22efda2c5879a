"""The page of promised and realised false alarms, from cells that are kept."""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
from dataclasses import asdict, replace

import pytest

from support.tiny import ROOT


@pytest.fixture(scope="module")
def promises():
    spec = importlib.util.spec_from_file_location("promises", ROOT / "benchmarks/promises.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["promises"] = module
    spec.loader.exec_module(module)
    return module


def cell(promises, seed=0, alarms=2, way="found"):
    at = tuple(promises.AtRate(rate, 0.05, 0.2, alarms, 0.5) for rate in promises.RATES)
    return promises.Cell(
        "wood", seed, way, "key", 80, 20, 4, 4.0, "their name", 20, 20.0, 0.875, at, {"hole": [0.1, 0.2, 0.3]}
    )


def test_a_promise_is_within_weakened_or_broken_by_the_interval_of_the_share(promises):
    rows = {alarms: promises.rows([cell(promises, alarms=alarms)])[0] for alarms in (1, 6, 15)}
    assert "| 5.0% (0.1% to 24.9%) of 20 | within |" in rows[1]
    assert "| within, as weakened |" in rows[6]
    assert "| **above** |" in rows[15]


def test_the_share_is_the_mean_of_the_seeds(promises):
    row = promises.rows([cell(promises, 0, 0), cell(promises, 1, 4)])[1]
    assert row.startswith("| wood | sisters on one side | 20 in 4, 4 | 5% | 5.0% | 20.0% | 10.0% (")


def test_cells_are_kept_by_their_key_and_shown(promises, tmp_path):
    one = cell(promises)
    for known in (one, replace(one, seed=1), cell(promises, way="plain")):
        file = promises.file_of(tmp_path, "wood", known.seed, known.way)
        file.write_text(json.dumps(asdict(known)))
    found = promises.kept(tmp_path, "wood", 0, "found", "key")
    assert found.at == one.at
    assert promises.kept(tmp_path, "wood", 0, "found", "another") is None
    assert promises.kept(tmp_path, "wood", 7, "found") is None
    older = {name: value for name, value in asdict(one).items() if name != "auroc"}
    promises.file_of(tmp_path, "wood", 8, "found").write_text(json.dumps(older))
    assert promises.kept(tmp_path, "wood", 8, "found", "key") is None
    promises.write(argparse.Namespace(work=tmp_path, out=tmp_path))
    page = (tmp_path / "promises.md").read_text()
    assert "; 2 seeds;" in page
    assert "| 0.50 | 0.875 |" in page
    assert page.count("| wood | plain |") == page.count("| wood | sisters on one side |") == 3
