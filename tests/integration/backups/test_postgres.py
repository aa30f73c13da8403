"""scripts/backup and scripts/restore with MLflow's database in PostgreSQL."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg2
import pytest

from backup_site import Site
from servers import Postgres

pytestmark = [pytest.mark.integration, pytest.mark.full]
TABLES = """
CREATE TABLE experiments (id SERIAL PRIMARY KEY, name VARCHAR(256) UNIQUE);
CREATE TABLE "a Run" (id CHAR(32) PRIMARY KEY, experiment INT REFERENCES experiments (id), note TEXT, picture BYTEA);
CREATE TABLE nothing_yet (id INT PRIMARY KEY);
INSERT INTO experiments (name) VALUES ('pets'), ('COPY public.experiments (id) FROM stdin;');
"""
RUNS = [
    ("1" * 32, 1, "ñandú 🐕 'so' \\ \t", bytes(range(256))),
    ("2" * 32, 2, "two lines\n\\.\nCOPY x FROM stdin;\n", b""),
    ("3" * 32, 2, None, None),
]


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    server = Postgres(tmp_path_factory.mktemp("postgres"))
    server.start()
    for name in ("filled", "fresh"):
        do(server, "postgres", f"CREATE DATABASE {name}")
    do(server, "filled", TABLES)
    for run in RUNS:
        do(server, "filled", 'INSERT INTO "a Run" VALUES (%s, %s, %s, %s)', run)
    yield server
    server.stop()


def do(server: Postgres, database: str, sql: str, values: tuple[Any, ...] | None = None) -> list[Any]:
    place = {"host": "127.0.0.1", "port": server.port, "user": "mlflow", "password": server.password}
    with contextlib.closing(psycopg2.connect(dbname=database, **place)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(sql, values)
            return cursor.fetchall() if cursor.description else []


def uri(server: Postgres, database: str, password: str = "") -> str:
    # The host name in compose's network; the two options replace it here.
    return f"postgresql+psycopg2://mlflow:{quote(password or server.password, safe='')}@postgres:5432/{database}"


def test_postgresql_is_copied_and_restored_like_mysql(postgres: Postgres, empty: Site, tmp_path: Path) -> None:
    where = ("--database-host", "127.0.0.1", "--database-port", postgres.port)
    objects = {"data": {"datasets/1": b"1"}, "artifacts": {"1/network": b"2"}}
    for store, bodies in objects.items():
        empty.put(store, bodies)
    backup = tmp_path / "backup"
    code, output = empty.run("backup", backup, *where, MLFLOW_BACKEND_STORE_URI=uri(postgres, "filled"))
    assert (code, postgres.password in output) == (0, False), output
    assert "5 rows of 2 tables" in output
    empty.empty()
    code, output = empty.run("restore", backup, *where, MLFLOW_BACKEND_STORE_URI=uri(postgres, "filled"))
    assert (code, "has 3 tables" in output) == (1, True), output
    code, output = empty.run("restore", backup)
    assert (code, "The backup is of postgresql, but the settings name mysql" in output) == (1, True), output
    wrong = uri(postgres, "fresh", "wrong")
    code, output = empty.run("restore", backup, *where, MLFLOW_BACKEND_STORE_URI=wrong)
    assert (code, "authentication failed" in output) == (1, True), output
    code, output = empty.run("restore", backup, *where, MLFLOW_BACKEND_STORE_URI=uri(postgres, "fresh"))
    assert (code, postgres.password in output) == (0, False), output
    assert empty.objects() == objects
    for table in ("experiments", '"a Run"', "nothing_yet"):
        whole = f"SELECT * FROM {table} ORDER BY id"  # noqa: S608
        assert do(postgres, "fresh", whole) == do(postgres, "filled", whole)
    assert do(postgres, "fresh", "INSERT INTO experiments (name) VALUES ('next') RETURNING id") == [(3,)]
