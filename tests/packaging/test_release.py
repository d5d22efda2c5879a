"""The release: who may publish, what is tried before, and that the wheel has every file of the package."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import tarfile
import zipfile

import pytest

from support.tiny import ROOT

yaml = pytest.importorskip("yaml")
WORKFLOW = yaml.safe_load((ROOT / ".github/workflows/release.yml").read_text())
JOBS = WORKFLOW["jobs"]
PROJECT = (ROOT / "pyproject.toml").read_text()


@pytest.fixture
def check():
    spec = importlib.util.spec_from_file_location("package_check", ROOT / "scripts" / "package_check.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_publishing_comes_last_and_alone_may_do_more_than_read():
    assert WORKFLOW["permissions"] == {}
    assert JOBS["publish"]["needs"] == ["build", "try"]
    assert JOBS["publish"]["permissions"] == {"id-token": "write"}
    assert {name: JOBS[name]["permissions"] for name in ("build", "try")} == {
        "build": {"contents": "read"},
        "try": {"contents": "read"},
    }
    assert JOBS["publish"]["if"] == "startsWith(github.ref, 'refs/tags/')"
    assert "secrets." not in (ROOT / ".github/workflows/release.yml").read_text()


def test_every_python_that_is_promised_is_tried(check):
    promised = re.findall(r'"Programming Language :: Python :: (3\.\d+)"', PROJECT)
    assert JOBS["try"]["strategy"]["matrix"]["python"] == promised == list(check.PYTHONS)


def packed(folder, leave_out=(), besides=()):
    """Write a wheel and an sdist with the files of the working tree."""
    wheel, sdist = folder / "differnet-1-py3-none-any.whl", folder / "differnet-1.tar.gz"
    source = ROOT / "src"
    names = [path.relative_to(source).as_posix() for path in source.glob("differnet/**/*") if path.is_file()]
    names = [name for name in names if "__pycache__" not in name]
    with zipfile.ZipFile(wheel, "w") as archive:
        for name in names:
            if name not in leave_out:
                archive.write(source / name, name)
        for name in besides:
            archive.writestr(name, "")
    with tarfile.open(sdist, "w:gz") as archive:
        for name in (
            "pyproject.toml",
            "README.md",
            "LICENSE",
            "tests/conftest.py",
            "docs/index.md",
            "scripts",
        ):
            archive.add(ROOT / name, f"differnet-1/{name}", recursive=name == "scripts")
    return wheel, sdist


def test_a_wheel_that_lacks_a_page_or_has_a_stray_file_is_refused(check, tmp_path):
    check.check_files(*packed(tmp_path))
    page = "differnet/evaluation/report/report.html"
    with pytest.raises(SystemExit, match="lacks .*report.html"):
        check.check_files(*packed(tmp_path, leave_out=(page,)))
    with pytest.raises(SystemExit, match="has besides .*stray"):
        check.check_files(*packed(tmp_path, besides=("differnet/stray.txt",)))


def test_a_folder_with_files_of_others_is_not_emptied(check, tmp_path):
    (tmp_path / "letter.txt").write_text("mine")
    with pytest.raises(SystemExit, match=r"letter\.txt, which was not built here"):
        check.build(tmp_path)
    assert (tmp_path / "letter.txt").read_text() == "mine"


def test_a_python_that_is_not_there_is_said(check, capsys):
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    (python,) = check.found(["2.99", version])
    assert "Python 2.99: there is none here" in capsys.readouterr().out
    code = "import sys; print('%d.%d' % sys.version_info[:2])"
    assert subprocess.check_output([python, "-c", code], text=True).strip() == version
