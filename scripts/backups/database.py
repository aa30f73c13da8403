"""Dumps MLflow's database to a gzipped SQL file and loads it, with the client programs of MySQL and PostgreSQL."""

from __future__ import annotations

import contextlib
import gzip
import os
import shutil
import subprocess
import tempfile
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, ClassVar

from backups.command import BackupError
from deferred_signals import deferred_signals

ADVICE = {
    "denied": "Check its password in infra/.env.",
    "authentication failed": "Check its password in infra/.env.",
    "connect": "Start it, or set --database-host and --database-port.",
    "host name": "Set --database-host to a name that this machine can resolve.",
    "unknown collation": "Restore a MySQL dump into MySQL and a MariaDB dump into MariaDB.",
    "version mismatch": "Install client programs of the same version as the server.",
}
LOOPBACK = ("127.0.0.1", "::1", "localhost")


@dataclass(frozen=True)
class Address:
    host: str
    port: int
    user: str
    password: str
    name: str

    def __str__(self) -> str:
        return f"{self.name} at {self.host}:{self.port} (account {self.user})"


@dataclass(frozen=True)
class Database(ABC):
    """One database. Every method raises BackupError with the message of its client program."""

    address: Address
    kind: ClassVar[str]
    file: ClassVar[str]
    package: ClassVar[str]
    dumpers: ClassVar[tuple[str, ...]]
    clients: ClassVar[tuple[str, ...]]
    dump_options: ClassVar[tuple[str, ...]]
    load_options: ClassVar[tuple[str, ...]]
    query_options: ClassVar[tuple[str, ...]]
    tables_sql: ClassVar[str]

    def dump(self, path: Path) -> dict[str, int]:
        """Write a consistent dump of the whole database; returns the row count of each table that is not empty."""
        rows: Counter[str] = Counter()
        with (
            gzip.open(path, "xb") as file,
            self._run(self.dumpers, self.dump_options, stdout=subprocess.PIPE) as process,
        ):
            file.writelines(self._counted(process.stdout, rows))
        return dict(rows)

    def load(self, path: Path) -> None:
        with (
            gzip.open(path, "rb") as file,
            self._run(self.clients, self.load_options, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as process,
            contextlib.suppress(BrokenPipeError),  # the program ended early; its message says why
        ):
            shutil.copyfileobj(file, process.stdin)

    def tables(self) -> list[str]:
        return self._query(self.tables_sql)

    def rows(self, tables: list[str]) -> dict[str, int]:
        """The row count of each table. The names come from `tables`, so they need no escaping."""
        counts = self._query("".join(f"SELECT COUNT(*) FROM {self._quoted(table)};\n" for table in tables))  # noqa: S608
        return dict(zip(tables, map(int, counts), strict=True))

    def versions(self) -> dict[str, str]:
        """The server's version and the dump program's."""
        printed = subprocess.run([self._find(self.dumpers), "--version"], capture_output=True, text=True, check=False)  # noqa: S603 (words, no shell)
        return {"server": self._query("SELECT VERSION();")[0], "program": printed.stdout.strip()}

    @abstractmethod
    def _counted(self, dump: IO[bytes], rows: Counter[str]) -> Iterator[bytes]:
        """The lines of a dump to keep; adds each row to the count of its table."""

    def _quoted(self, table: str) -> str:
        return table

    @abstractmethod
    def _credentials(self) -> AbstractContextManager[tuple[list[str], dict[str, Any]]]:
        """Arguments and Popen options to log in; the password is not among the arguments, which `ps` shows."""

    def _find(self, names: tuple[str, ...]) -> str:
        for name in names:
            if found := shutil.which(name):
                return found
        raise BackupError(f"No {' or '.join(names)} on PATH. On Debian and Ubuntu: apt install {self.package}.")

    def _query(self, sql: str) -> list[str]:
        with tempfile.TemporaryFile("w+b") as file:
            file.write(sql.encode())
            file.seek(0)  # before the program starts, which shares the file position
            with self._run(self.clients, self.query_options, stdin=file, stdout=subprocess.PIPE) as process:
                return [line.decode().rstrip("\n") for line in process.stdout]

    @contextmanager
    def _run(self, names: tuple[str, ...], options: tuple[str, ...], **streams: Any) -> Iterator[Any]:
        """A program, logged in. At the end of the body its input is closed; it must then exit with 0."""
        program = self._find(names)
        with self._credentials() as (arguments, access), tempfile.TemporaryFile() as errors:
            command = [program, *arguments[:-1], *options, arguments[-1]]
            with ExitStack() as last:
                with deferred_signals():
                    process = subprocess.Popen(command, stderr=errors, **access, **streams)  # noqa: S603 (words, no shell)
                    last.callback(_end, process)
                yield process
                with contextlib.suppress(BrokenPipeError):
                    _close(process.stdin)
                process.wait()
            if process.returncode != 0:
                raise BackupError(f"The database {self.address} can't be used: {_last_message(errors)}")


class Mysql(Database):
    """MySQL and MariaDB, with the client programs of either."""

    kind, file, package = "mysql", "mysql.sql.gz", "mariadb-client"
    dumpers, clients = ("mariadb-dump", "mysqldump"), ("mariadb", "mysql")
    dump_options = (
        "--single-transaction",
        "--no-tablespaces",  # they need a server-wide privilege
        "--hex-blob",
        "--skip-extended-insert",  # one row per line, so that rows can be counted
        "--no-autocommit",
        "--default-character-set=utf8mb4",
        "--loose-set-gtid-purged=OFF",  # only MySQL's mysqldump knows these two
        "--loose-column-statistics=0",
    )
    load_options = ("--default-character-set=utf8mb4", "--loose-sandbox", "--batch")
    query_options = ("--default-character-set=utf8mb4", "--batch", "--skip-column-names")
    tables_sql = "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE() ORDER BY 1;"

    def _counted(self, dump: IO[bytes], rows: Counter[str]) -> Iterator[bytes]:
        for line in dump:
            # Line breaks inside values are escaped as \n, so every line that starts like this is a row.
            if line.startswith(b"INSERT INTO `"):
                rows[line.split(b"`", 2)[1].decode()] += 1
            # MariaDB's first line turns on sandbox mode (--sandbox above does too); MySQL's client can't read it.
            if not line.startswith(b"/*M!999999"):
                yield line

    def _quoted(self, table: str) -> str:
        return f"`{table}`"

    @contextmanager
    def _credentials(self) -> Iterator[tuple[list[str], dict[str, Any]]]:
        lines = [
            "[client]",
            "protocol=tcp",
            f"host={self.address.host}",
            f"port={self.address.port}",
            f'user="{_escaped(self.address.user)}"',
            f'password="{_escaped(self.address.password)}"',
        ]
        if self.address.host in LOOPBACK:
            # Safe on loopback, and needed: newer MariaDB clients refuse MySQL's self-signed certificate.
            lines.append("loose-ssl-verify-server-cert=0")
        # An unlinked file: the password leaves no trace even if this process is killed.
        with tempfile.TemporaryFile("w") as file:
            file.write("\n".join([*lines, ""]))
            file.flush()
            file.seek(0)
            # Not --defaults-extra-file: ~/.my.cnf is read after it and would override the password.
            yield [f"--defaults-file=/dev/fd/{file.fileno()}", self.address.name], {"pass_fds": [file.fileno()]}


class Postgres(Database):
    kind, file, package = "postgresql", "postgresql.sql.gz", "postgresql-client"
    dumpers, clients = ("pg_dump",), ("psql",)
    dump_options = ("--no-owner", "--no-privileges")
    load_options = ("--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--single-transaction")
    query_options = ("--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--no-align", "--tuples-only")
    tables_sql = (
        "SELECT quote_ident(table_schema) || '.' || quote_ident(table_name) FROM information_schema.tables "
        "WHERE table_schema NOT IN ('pg_catalog', 'information_schema') ORDER BY 1;"
    )

    def _counted(self, dump: IO[bytes], rows: Counter[str]) -> Iterator[bytes]:
        # COPY schema.table (columns) FROM stdin; then one row per line, until \.
        table = ""
        for line in dump:
            if table and line != b"\\.\n":
                rows[table] += 1
            elif table:
                table = ""
            elif line.startswith(b"COPY ") and line.endswith(b" FROM stdin;\n"):
                table = line[5:].partition(b" (")[0].decode()
            yield line

    @contextmanager
    def _credentials(self) -> Iterator[tuple[list[str], dict[str, Any]]]:
        address = self.address
        where = [f"--host={address.host}", f"--port={address.port}", f"--username={address.user}", "--no-password"]
        yield [*where, f"--dbname={address.name}"], {"env": {**os.environ, "PGPASSWORD": address.password}}


def _escaped(value: str) -> str:
    """The value for use between double quotes in an option file."""
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    with contextlib.suppress(BrokenPipeError):
        _close(process.stdin)
    _close(process.stdout)


def _close(stream: IO[bytes] | None) -> None:
    if stream is not None:
        stream.close()


def _last_message(errors: IO[bytes]) -> str:
    """The last line that a client program printed, with advice."""
    errors.seek(0)
    lines = [line.strip() for line in errors.read().decode(errors="replace").splitlines() if line.strip()]
    message = lines[-1].rstrip(".") if lines else "its client program ended without a message"
    for pattern, advice in ADVICE.items():
        if pattern in message.lower():
            return f"{message}. {advice}"
    return f"{message}."
