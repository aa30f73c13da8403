"""MLflow's database out to a gzipped file of SQL and back, through the client programs of MySQL and PostgreSQL."""

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

from backups.command import CannotGoOn
from stopping import held_back

ADVICE = {
    "denied": "Check its password in infra/.env.",
    "authentication failed": "Check its password in infra/.env.",
    "connect": "Start it, or name another place with --database-host and --database-port.",
    "host name": "Name one that this machine knows with --database-host.",
    "unknown collation": "A dump of MySQL is restored into MySQL, one of MariaDB into MariaDB.",
    "version mismatch": "Install the client programs of the server's version.",
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
    """One database. Every method raises CannotGoOn with what its client program says."""

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
        """Write the whole database as one moment saw it; returns how many rows each table has that has any."""
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
            contextlib.suppress(BrokenPipeError),  # it ended before its input did, and says why
        ):
            shutil.copyfileobj(file, process.stdin)

    def tables(self) -> list[str]:
        return self._ask(self.tables_sql)

    def rows(self, tables: list[str]) -> dict[str, int]:
        """How many rows each of these tables has; their names are those that the database tells."""
        counts = self._ask("".join(f"SELECT COUNT(*) FROM {self._quoted(table)};\n" for table in tables))  # noqa: S608
        return dict(zip(tables, map(int, counts), strict=True))

    def versions(self) -> dict[str, str]:
        """The server's version and the dump program's."""
        told = subprocess.run([self._find(self.dumpers), "--version"], capture_output=True, text=True, check=False)
        return {"server": self._ask("SELECT VERSION();")[0], "program": told.stdout.strip()}

    @abstractmethod
    def _counted(self, dump: IO[bytes], rows: Counter[str]) -> Iterator[bytes]:
        """The lines of a dump as they are to be kept; adds each row to its table's count."""

    def _quoted(self, table: str) -> str:
        return table

    @abstractmethod
    def _credentials(self) -> AbstractContextManager[tuple[list[str], dict[str, Any]]]:
        """Arguments and Popen's options that let a program in, with no password among the arguments."""

    def _find(self, names: tuple[str, ...]) -> str:
        for name in names:
            if found := shutil.which(name):
                return found
        raise CannotGoOn(f"No {' or '.join(names)} on PATH. On Debian and Ubuntu: apt install {self.package}.")

    def _ask(self, sql: str) -> list[str]:
        with tempfile.TemporaryFile("w+b") as question:
            question.write(sql.encode())
            question.seek(0)  # before the program has it, which reads from the same place on
            with self._run(self.clients, self.query_options, stdin=question, stdout=subprocess.PIPE) as process:
                return [line.decode().rstrip("\n") for line in process.stdout]

    @contextmanager
    def _run(self, names: tuple[str, ...], options: tuple[str, ...], **streams: Any) -> Iterator[Any]:
        """A program that was let in; when the body is through its input is closed, and it must end well."""
        program = self._find(names)
        with self._credentials() as (arguments, access), tempfile.TemporaryFile() as said:
            command = [program, *arguments[:-1], *options, arguments[-1]]
            with ExitStack() as last:
                with held_back():
                    process = subprocess.Popen(command, stderr=said, **access, **streams)
                    last.callback(_end, process)
                yield process
                with contextlib.suppress(BrokenPipeError):
                    _close(process.stdin)
                process.wait()
            if process.returncode != 0:
                raise CannotGoOn(f"The database {self.address} can't be used: {_last_words(said)}")


class Mysql(Database):
    """MySQL and MariaDB, through the client programs of either."""

    kind, file, package = "mysql", "mysql.sql.gz", "mariadb-client"
    dumpers, clients = ("mariadb-dump", "mysqldump"), ("mariadb", "mysql")
    dump_options = (
        "--single-transaction",
        "--no-tablespaces",  # they need a right over the whole server
        "--hex-blob",
        "--skip-extended-insert",  # one row a line: what is restored is compared with the number of rows
        "--no-autocommit",
        "--default-character-set=utf8mb4",
        "--loose-set-gtid-purged=OFF",  # these two: MySQL's own program alone knows them
        "--loose-column-statistics=0",
    )
    load_options = ("--default-character-set=utf8mb4", "--loose-sandbox", "--batch")
    query_options = ("--default-character-set=utf8mb4", "--batch", "--skip-column-names")
    tables_sql = "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE() ORDER BY 1;"

    def _counted(self, dump: IO[bytes], rows: Counter[str]) -> Iterator[bytes]:
        for line in dump:
            # Line breaks inside values are written as \n, so that every line that begins so is a row.
            if line.startswith(b"INSERT INTO `"):
                rows[line.split(b"`", 2)[1].decode()] += 1
            # MariaDB's first line forbids its client to run commands (so does --sandbox above); MySQL's can't read it.
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
            # Nobody stands in between, and MariaDB's newer programs refuse the certificate that MySQL makes itself.
            lines.append("loose-ssl-verify-server-cert=0")
        # A file without a name: even if this process is killed the password stays nowhere.
        with tempfile.TemporaryFile("w") as file:
            file.write("\n".join([*lines, ""]))
            file.flush()
            file.seek(0)
            # Not --defaults-extra-file: a password in ~/.my.cnf would be read after it.
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
        # COPY schema.table (columns) FROM stdin; then one row a line, until \.
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
    """The value as it stands between double quotes in a file of options."""
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


def _last_words(said: IO[bytes]) -> str:
    """The end of what a client program said, and what a person does about it."""
    said.seek(0)
    lines = [line.strip() for line in said.read().decode(errors="replace").splitlines() if line.strip()]
    told = lines[-1].rstrip(".") if lines else "its client program ended without a word"
    for sign, advice in ADVICE.items():
        if sign in told.lower():
            return f"{told}. {advice}"
    return f"{told}."
