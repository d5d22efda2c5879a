"""Options of serve and watch from a file and from the environment; the command line goes first."""

from __future__ import annotations

import functools
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from differnet.cli import app as app_module
from differnet.cli.serve import serve
from differnet.cli.settings_file import environment
from differnet.cli.watch import watch

RUN = CliRunner()


def given(command, *arguments, env=None):
    """Return what a command is called with, or the text with which it ends."""
    found = {}

    @functools.wraps(command)
    def noted(**options):
        found.update(options)

    app = typer.Typer()
    app.command(context_settings=environment(command.__name__))(noted)
    app.callback()(lambda: None)
    run = RUN.invoke(app, [command.__name__, *arguments], env=env)
    return found if run.exit_code == 0 else " ".join(run.output.split())


def written(tmp_path, text):
    path = tmp_path / "line.toml"
    path.write_text(text)
    return str(path)


FILE = """
[serve]
folders = ["/models/a", "/models/b"]
port = 9000
allow-host = ["line-3", "line-4"]
without-keys = true
timeout = 2.5

[watch]
source = "/camera"
model = "/station"
views = "auto"
drift = false
max-bytes = 1000
"""


def test_a_file_has_the_options_of_both_commands(tmp_path):
    path = written(tmp_path, FILE)
    served = given(serve, "--settings", path)
    assert served["folders"] == [Path("/models/a"), Path("/models/b")]
    assert (served["port"], served["allow_host"], served["without_keys"]) == (
        9000,
        ["line-3", "line-4"],
        True,
    )
    assert (served["timeout"], served["queue"]) == (2.5, 64)
    watched = given(watch, "--settings", path)
    assert (watched["source"], watched["model"]) == ("/camera", Path("/station"))
    assert (watched["views"], watched["drift"], watched["max_bytes"]) == ("auto", False, 1000)


def test_config_is_another_name_for_settings_and_none_of_what_a_file_has(tmp_path):
    assert given(serve, "--config", written(tmp_path, "[serve]\nport = 9000\n"))["port"] == 9000
    assert "unknown name 'config'" in given(serve, "--config", written(tmp_path, "[serve]\nconfig = 'x'\n"))


def test_a_file_that_nests_without_end_is_no_toml(tmp_path):
    path = written(tmp_path, "[serve]\nport = " + "[" * 3000 + "]" * 3000)
    said = "".join(given(serve, "--settings", path).replace("│", " ").split())  # broken anywhere by the width
    assert "line.toml:noTOML(maximumrecursiondepthexceeded)" in said


def test_a_file_of_an_editor_that_marks_its_beginning_is_read(tmp_path):
    path = tmp_path / "options.toml"
    path.write_bytes(b"\xef\xbb\xbf[serve]\nport = 9000\n")
    assert given(serve, "--settings", path)["port"] == 9000


def test_help_names_the_tables():
    shown = RUN.invoke(app_module.app, ["serve", "--help"], env={"COLUMNS": "200"}).output
    assert "under [serve] or [watch]" in shown


def test_the_command_line_goes_before_the_environment_and_that_before_the_file(tmp_path):
    path = written(tmp_path, "[serve]\nport = 1\nqueue = 1\nworkers = 1\n")
    env = {"DIFFERNET_SERVE_PORT": "2", "DIFFERNET_SERVE_QUEUE": "2", "DIFFERNET_SERVE_SETTINGS": path}
    found = given(serve, "--port", "3", env=env)
    assert (found["port"], found["queue"], found["workers"]) == (3, 2, 1)


def test_the_environment_has_arguments_lists_and_flags():
    env = {"DIFFERNET_SERVE_FOLDERS": "/a:/b", "DIFFERNET_SERVE_WITHOUT_KEYS": "1"}
    found = given(serve, env=env | {"DIFFERNET_SERVE_ALLOW_HOST": "x y"})
    assert found["folders"] == [Path("/a"), Path("/b")]
    assert (found["without_keys"], found["allow_host"]) == (True, ["x", "y"])
    found = given(watch, env={"DIFFERNET_WATCH_SOURCE": "/c", "DIFFERNET_WATCH_MODEL": "/m"})
    assert (found["source"], found["model"]) == ("/c", Path("/m"))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[serve]\nprot = 1\n", "unknown name 'prot'; did you mean 'port'?"),
        ("[server]\nport = 1\n", "unknown name 'server'; did you mean 'serve'?"),
        ("port = 1\n", "unknown name 'port'; there are: serve, watch"),
        ("serve = 1\n", "serve is no table"),
        ("[serve]\nport = true\n", "port = True: a whole number was wanted"),
        ("[serve]\nport = 8000.7\n", "port = 8000.7: a whole number was wanted"),
        ("[serve]\nmax-bytes = true\n", "max-bytes = True: a whole number was wanted"),
        ("[serve]\nmax-age-days = true\n", "max-age-days = True: a number was wanted"),
        ("[serve]\nhost = 1\n", "host = 1: a text was wanted"),
        ("[serve]\nwithout-keys = 1\n", "without-keys = 1: true or false was wanted"),
        ("[serve]\nallow-host = [['a']]\n", "a list, of a text each, was wanted"),
        ("[serve]\nfolders = [1]\n", "a list, of a text each, was wanted"),
        ("[serve]\nport = [1]\n", "port = [1]: a whole number was wanted"),
        ("[serve]\nallow-host = 'x'\n", "allow-host = 'x': a list, of a text each, was wanted"),
        ("[serve]\nport = 70000\n", "Invalid value for '--port'"),
        ("[serve]\nport = 2020-01-01\n", "a whole number was wanted"),
        ("[serve\n", "line.toml"),
        ("[serve]\nsettings = 'other.toml'\n", "unknown name 'settings'"),
    ],
)
def test_what_is_wrong_in_a_file_is_said(tmp_path, text, why):
    found = given(serve, "--settings", written(tmp_path, text), env={"COLUMNS": "1000"})
    assert isinstance(found, str)
    assert why in found


def test_a_file_that_is_not_there_is_said(tmp_path):
    found = given(serve, "--settings", str(tmp_path / "none.toml"), env={"COLUMNS": "1000"})
    assert "no such file; a TOML" in found


def test_the_commands_themselves_read_them(tmp_path):
    path = written(tmp_path, f"[serve]\nfolders = [{str(tmp_path)!r}]\nport = 0\nlog-level = 'loud'\n")
    run = RUN.invoke(app_module.app, ["serve", "--settings", path], env={"COLUMNS": "1000"})
    assert run.exit_code == 2
    assert "--log-level loud: debug, info, warning or error was wanted" in run.output
    run = RUN.invoke(
        app_module.app, ["serve"], env={"DIFFERNET_SERVE_KEEP_IMAGES": "some", "COLUMNS": "1000"}
    )
    assert "--keep-images some: none, flagged or all was wanted" in run.output


def test_a_yaml_file_says_the_same(tmp_path):
    path = tmp_path / "line.yaml"
    path.write_text("serve:\n  folders: [/models/a]\n  port: 9000\n  timeout: 2.5\n")
    assert given(serve, "--settings", str(path))["port"] == 9000
    path.write_text("serve: 3\n")
    assert "serve is no table; serve: begins one" in given(serve, "--settings", str(path))
    path.write_text("serve:\n  port: nine\n")
    assert "a whole number was wanted" in given(serve, "--settings", str(path))
