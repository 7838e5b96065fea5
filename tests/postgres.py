"""A real PostgreSQL: one throw-away cluster a test process, one empty database a test.

The cluster starts when the first test asks for a database. It listens on a socket in its own temporary directory, so
that there is no port to run into; nothing of it is ever flushed to disk. It ends with the test process, and where the
system can do that (`setpriv`) also when the test process is killed.
"""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from .programs import find

SUPERUSER = "headwater"
START_TIMEOUT_S = 60
# What a cluster that nobody will miss need not do. The socket is the only way in.
OPTIONS = {
    "listen_addresses": "",
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "autovacuum": "off",
    "shared_buffers": "32MB",
}
# A role named `locked` needs its password; everybody else is believed.
ACCESS = "local all locked scram-sha-256\nlocal all all trust\n"


class Cluster:
    """A PostgreSQL server and its files. `stop` and `start` keep the databases, `close` removes everything."""

    def __init__(self, programs: Path) -> None:
        """`programs`: the directory with `initdb`, `postgres` and `psql`."""
        self._programs = programs
        # PostgreSQL refuses to run as root.
        self._user = "postgres" if os.geteuid() == 0 else None
        # The path of a socket has 107 bytes at most, which a test's own directory may exceed.
        self.directory = Path(tempfile.mkdtemp(prefix="headwater-pg-"))
        if self._user:
            shutil.chown(self.directory, self._user, self._user)
        self._server: subprocess.Popen[bytes] | None = None
        self._numbers = count(1)

    def url(self, database: str, *, user: str = SUPERUSER) -> str:
        return f"postgresql://{user}@/{database}?host={self.directory}"

    def make(self) -> None:
        """Make the files, and start."""
        settings = ("--auth=trust", "--encoding=UTF8", "--no-locale", "--no-sync", f"--username={SUPERUSER}")
        self._run("initdb", f"--pgdata={self._data}", *settings)
        (self._data / "pg_hba.conf").write_text(ACCESS, "utf-8")
        self.start()

    def start(self) -> None:
        """Returns when the server takes connections."""
        options = [f"--{name}={value}" for name, value in OPTIONS.items()]
        command: list[str | Path] = [self._programs / "postgres", "-D", self._data, "-k", self.directory, *options]
        if setpriv := shutil.which("setpriv"):
            command = [setpriv, "--pdeathsig", "INT", "--", *command]
        with (self.directory / "log").open("ab") as log:
            # Its own session: what a terminal's Ctrl-C asks for is that the tests end, and then the server.
            self._server = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True, **self._identity())
        deadline_s = time.monotonic() + START_TIMEOUT_S
        while not self._is_ready():
            if self._server.poll() is not None or time.monotonic() > deadline_s:
                self.stop()
                raise RuntimeError(f"PostgreSQL does not start:\n{(self.directory / 'log').read_text('utf-8')}")
            time.sleep(0.02)

    def stop(self) -> None:
        """End every connection and the server."""
        server, self._server = self._server, None
        if server is not None:
            server.send_signal(signal.SIGINT)
            server.wait()

    def close(self) -> None:
        self.stop()
        shutil.rmtree(self.directory)

    @contextmanager
    def database(self) -> Iterator[str]:
        """The address of an empty database, which is dropped at the end with whoever still uses it."""
        name = f"test_{next(self._numbers)}"
        self.sql(f"CREATE DATABASE {name} TEMPLATE template0")
        try:
            yield self.url(name)
        finally:
            self.sql(f"DROP DATABASE {name} WITH (FORCE)")

    def sql(self, statement: str, *, database: str = "postgres") -> str:
        """Run it as the superuser. Returns the values of its rows, one row a line."""
        where = ("--host", self.directory, "--username", SUPERUSER, "--dbname", database)
        return self._run("psql", *where, "-XAtq", "-v", "ON_ERROR_STOP=1", "-c", statement)

    @property
    def _data(self) -> Path:
        return self.directory / "data"

    def _is_ready(self) -> bool:
        # What `pg_ctl --wait` looks at: the last line of the lock file.
        try:
            lines = (self._data / "postmaster.pid").read_text("utf-8").splitlines()
        except FileNotFoundError:
            return False
        return len(lines) >= 8 and lines[7].strip() == "ready"

    def _run(self, program: str, *arguments: str | Path) -> str:
        run: subprocess.CompletedProcess[str] = subprocess.run(
            [self._programs / program, *arguments], capture_output=True, text=True, check=False, **self._identity()
        )
        if run.returncode:
            raise RuntimeError(f"{program}: {run.stderr}")
        return run.stdout.strip()

    def _identity(self) -> dict[str, Any]:
        # The directory is changed because the user may have no right to the current one.
        if self._user is None:
            return {"cwd": self.directory}
        return {"cwd": self.directory, "user": self._user, "group": self._user, "extra_groups": []}


@pytest.fixture(scope="session")
def postgres() -> Iterator[Cluster]:
    """This process's cluster. Tests that use it carry the marker `postgres`."""
    initdb = find("initdb")
    if initdb is None:
        pytest.skip("no `initdb`")
    # Beside it are the others of its version; on PATH there may be a link to it alone.
    cluster = Cluster(initdb.resolve().parent)
    # Where pytest itself breaks, no finaliser runs.
    atexit.register(cluster.stop)
    try:
        cluster.make()
        yield cluster
    finally:
        cluster.close()
        atexit.unregister(cluster.stop)


@pytest.fixture(scope="session")
def shared_postgres_url(postgres: Cluster) -> Iterator[str]:
    """One database for the tests of this process that empty it themselves, which is quicker than a new one."""
    with postgres.database() as url:
        yield url


@pytest.fixture
def postgres_url(postgres: Cluster) -> Iterator[str]:
    """An empty database of the test's own."""
    with postgres.database() as url:
        yield url
