"""Files have the rights that were asked for, whatever other threads do, and no text in a table is a formula."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
import threading

import pytest

from differnet.batch.fit_many import KeyOutcome, write_summary
from differnet.batch.rows import collecting
from differnet.config import presets
from differnet.data import files
from differnet.data.spreadsheet import cell

WRITE = (
    "import os, sys; os.umask(int(sys.argv[1], 8)); from differnet.data.files import write_whole, growing\n"
    "import differnet.data.files as files\n"
    "if sys.argv[2] == 'named': del os.O_TMPFILE\n"
    "write_whole('usual', b'1'); write_whole('private', b'2', mode=0o600)\n"
    "with growing('grown') as file: file.write('3')\n"
)


@pytest.mark.skipif(os.name != "posix", reason="rights are of POSIX")
@pytest.mark.parametrize("way", ["unnamed", "named"])
@pytest.mark.parametrize(("umask", "usual"), [("022", 0o644), ("027", 0o640), ("077", 0o600), ("000", 0o666)])
def test_files_have_the_rights_that_the_umask_leaves(tmp_path, way, umask, usual):
    subprocess.run([sys.executable, "-c", WRITE, umask, way], check=True, cwd=tmp_path)
    found = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    assert found == {"usual": usual, "private": 0o600 & ~int(umask, 8), "grown": usual}


def test_the_umask_of_other_threads_is_never_touched(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "umask", lambda _: pytest.fail("the umask of all threads was changed"))
    threads = [threading.Thread(target=files.write_whole, args=(tmp_path / str(n), b"x")) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(path.read_bytes() for path in tmp_path.iterdir()) == [b"x"] * 4


def test_the_umask_is_read_as_the_system_has_it():
    before = os.umask(0o031)
    try:
        assert files._umask() == (0o031 if sys.platform == "linux" else 0)
    finally:
        os.umask(before)


FORMULAS = [
    "=cmd|' /C calc'!A0.png",
    "+1+1.png",
    "-2-3.png",
    "@SUM(A1).png",
    "\t=1.png",
    "\r=1.png",
    "\uff1d1.png",
]


@pytest.mark.parametrize("text", FORMULAS)
def test_a_text_that_a_spreadsheet_would_compute_is_a_text(text):
    assert cell(text) == f"'{text}"
    assert (cell(f"a{text}"), cell(-1.5), cell("-1.5e-3"), cell("+7")) == (f"a{text}", -1.5, "-1.5e-3", "+7")


def test_no_table_of_verdicts_or_keys_has_a_formula(tmp_path):
    names = [*FORMULAS, "plain.png"]
    for suffix in (".csv", ".jsonl"):
        with collecting(tmp_path / f"rows{suffix}", {}, False, ()) as rows:
            for name in names:
                rows.add(
                    {
                        "path": name,
                        "score": -1.5,
                        "is_defective": False,
                        "error": "=1" if name == names[0] else None,
                    }
                )
    with (tmp_path / "rows.csv").open(newline="", encoding="utf-8") as file:
        found = list(csv.DictReader(file))
    assert [row["path"] for row in found] == [f"'{name}" for name in FORMULAS] + ["plain.png"]
    assert {row["score"] for row in found} == {"-1.5"}
    assert found[0]["error"] == "'=1"
    assert '"path": "=cmd' in (tmp_path / "rows.jsonl").read_text()
    write_summary(tmp_path, [KeyOutcome("@key", error="-x")], presets.Config())
    with (tmp_path / "summary.csv").open(newline="", encoding="utf-8") as file:
        (row,) = csv.DictReader(file)
    assert (row["key"], row["error"]) == ("'@key", "'-x")
