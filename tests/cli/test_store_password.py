"""The password of the database: from the environment or a file, and not where every user of the machine reads it."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from differnet.cli.app import app
from differnet.cli.options import with_password
from differnet.errors import ConfigError

SECRET = "p@ss:w/ör d%"  # noqa: S105
URL = "postgresql+psycopg://line@db.factory/parts"


def test_it_comes_from_the_environment_or_a_file(tmp_path, monkeypatch):
    from sqlalchemy import make_url

    monkeypatch.delenv("DIFFERNET_STORE_PASSWORD", raising=False)
    assert with_password(URL, None) == URL
    monkeypatch.setenv("DIFFERNET_STORE_PASSWORD", SECRET)
    assert make_url(with_password(URL, None)).password == SECRET
    assert make_url(with_password(URL, None)).host == "db.factory"
    assert with_password("sqlite:///record.sqlite3", None) == "sqlite:///record.sqlite3"
    file = tmp_path / "password"
    file.write_text(f"{SECRET}\n")
    assert make_url(with_password(URL, file)).password == SECRET
    for url in ("postgresql+psycopg://db/parts", "postgresql+psycopg://line:old@db/parts"):
        with pytest.raises(ConfigError, match="with a user and without one"):
            with_password(url, file)
    file.write_text("\n")
    with pytest.raises(ConfigError, match="is empty"):
        with_password(URL, file)


@pytest.mark.parametrize(
    "command",
    [
        ["serve", "station", "--store"],
        ["watch", "images", "--model", "station", "--store"],
        ["export-good", "--model", "tiny", "--to", "good"],
    ],
)
def test_it_is_refused_on_the_command_line_and_not_repeated(command, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for url in (URL.replace("line@", "line:secret@"), f"{URL}?password=secret"):
        run = CliRunner().invoke(app, [*command, url])
        assert run.exit_code == 2
        said = " ".join(run.output.replace("│", " ").split())
        assert "can be read by every user of this machine" in said
        assert "secret" not in said


def test_a_settings_file_and_the_environment_may_have_it(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    secret = URL.replace("line@", "line:secret@").replace("db.factory", "127.0.0.1:1")
    (tmp_path / "settings.toml").write_text(f'[serve]\nstore = "{secret}"\n')
    for options, environment in (
        (["--settings", "settings.toml"], {}),
        ([], {"DIFFERNET_SERVE_STORE": secret}),
    ):
        run = CliRunner().invoke(app, ["serve", "station", "--port", "0", *options], env=environment)
        assert run.exit_code == 2
        assert "postgresql+psycopg://line:***@127.0.0.1:1/parts" in run.output  # it was tried
        assert "secret" not in run.output
