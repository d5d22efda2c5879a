"""The page that says which command is what in Python: no command is left out, and each name leads to something."""

from __future__ import annotations

import pkgutil
import re

from typer.main import get_command

from differnet.cli.app import app
from support.tiny import ROOT

PAGE = (ROOT / "docs/howto/python.md").read_text()
ROWS = PAGE.partition("| command | in Python |\n|---|---|\n")[2].splitlines()


def test_every_command_has_its_place():
    commands = get_command(app).commands
    named = [name for row in ROWS for name in re.findall(r"`([\w-]+)(?: --[\w-]+)?`", row.split("|")[1])]
    assert set(named) == set(commands)


def test_every_name_leads_to_something():
    names = {name for row in ROWS for name in re.findall(r"\bdiffernet(?:\.\w+)+", row)} - {"differnet.load"}
    assert len(names) >= 10
    for name in names:
        assert callable(pkgutil.resolve_name(name)), name
    from differnet import DifferNet

    for method in (
        "fit",
        "groups",
        "predict",
        "predict_iter",
        "score",
        "drift_monitor",
        "calibrate",
        "quantize",
    ):
        assert method in PAGE
        assert callable(getattr(DifferNet, method))


def test_options_of_a_fit_that_are_no_arguments_are_settings():
    from differnet.config import presets

    for name in ("rate", "confidence", "review_rate", "folds", "ignore"):
        assert presets.check_name(name).endswith(f".{name}")
