"""A throw-away PostgreSQL for tests: a cluster of its own in a temporary folder, reached by a socket in it."""

from __future__ import annotations

import getpass
import os
import pwd
import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path


def binaries():
    """Return the folder of PostgreSQL's programs, or nothing."""
    found = shutil.which("initdb")
    if found:
        return Path(found).parent
    places = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return places[-1].parent if places else None


def missing():
    """Say why no PostgreSQL can be started here; nothing where it can."""
    if binaries() is None:
        return "no PostgreSQL programs (initdb) here"
    try:
        import psycopg  # noqa: F401
    except ImportError:
        return "psycopg is not installed"
    if os.getuid() == 0 and not any(user.pw_name == "postgres" for user in pwd.getpwall()):
        return "PostgreSQL does not run as root, and there is no user postgres"
    return None


@contextmanager
def postgres():
    """Start a cluster, yield the URL of its database, and remove it."""
    owner = "postgres" if os.getuid() == 0 else getpass.getuser()
    folder = Path(tempfile.mkdtemp(prefix="differnet-pg-", dir="/tmp"))
    if os.getuid() == 0:
        shutil.chown(folder, owner)
    before = ["runuser", "-u", owner, "--"] if os.getuid() == 0 else []

    def call(name, *arguments):
        command = [*before, str(binaries() / name), *arguments]
        subprocess.run(command, check=True, timeout=120, stdout=subprocess.DEVNULL, cwd="/")

    data = folder / "data"
    try:
        call("initdb", "-D", data, "-U", owner, "-A", "trust", "-E", "UTF8", "--no-sync")
        options = f"-k {folder} -c listen_addresses='' -c fsync=on"
        call("pg_ctl", "-D", data, "-l", folder / "log", "-w", "-t", "60", "-o", options, "start")
        yield f"postgresql+psycopg://{owner}@/postgres?host={folder}"
    finally:
        if (data / "postmaster.pid").exists():
            call("pg_ctl", "-D", data, "-m", "immediate", "-w", "stop")
        shutil.rmtree(folder, ignore_errors=True)


def empty(url):
    """Remove all tables."""
    from sqlalchemy import create_engine, text

    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("DROP SCHEMA public CASCADE"))
        connection.execute(text("CREATE SCHEMA public"))
    engine.dispose()
