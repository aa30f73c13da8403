"""A deployment for scripts/backup and scripts/restore: real MinIO and database, filled or empty."""

from __future__ import annotations

import contextlib
import os
import resource
import subprocess
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pymysql

from servers import ROOT, Minio, Mysql

# Every column type of MLflow's tables, with values that a careless dump corrupts.
TABLES = """
CREATE TABLE experiments (id INT PRIMARY KEY AUTO_INCREMENT, name VARCHAR(256) UNIQUE, at BIGINT) CHARSET utf8mb4;
CREATE TABLE a_run (id CHAR(32) PRIMARY KEY, experiment INT, note LONGTEXT, picture LONGBLOB, score DOUBLE,
  is_nan BIT(1), made TIMESTAMP NULL, FOREIGN KEY (experiment) REFERENCES experiments (id)) CHARSET utf8mb4;
CREATE TABLE nothing_yet (id INT PRIMARY KEY) CHARSET utf8mb4
"""
RUNS: list[tuple[Any, ...]] = [
    ("1", 1, "ñandú 🐕 'so' \"so\" \\ `", bytes(range(256)), 0.1 + 0.2, b"\x00", "2026-01-31 12:00:00"),
    ("2", 1, "two lines\nINSERT INTO `nothing_yet` VALUES (1);\r\n\ttab", b"", -1e-300, b"\x01", None),
    ("3", 2, None, None, None, None, None),
    ("4", 2, "", b"\n'\x1a\\0", 1.7976931348623157e308, b"\x00", "2026-07-01 00:00:01"),
]
BODIES = {
    "data": {
        "datasets/pets/source.json": b"{}",
        "datasets/pets/samples/1/a picture of ñandú.jpg": os.urandom(1000),
        "datasets/pets/samples/1/a+b%20c&d=e;f#g?.jpg": b"percent",
        "datasets/pets/samples/1/日本 🐕": b"wide",
        'datasets/pets/samples/1/it\'s "so" ~ ': b"quotes, and a space at the end",
        "datasets/.hidden/x": b"hidden",
        "datasets/empty": b"",
        "jobs/pets/runs/1.json": b"{}",
        "jobs/pets/checkpoints/1/state.npz": b"state",
    },
    "artifacts": {
        "1/models/m-1/artifacts/network.tflite": os.urandom(20_000_001),
        **{f"1/many/{number:04}": str(number).encode() for number in range(1010)},
    },
}


@dataclass
class Site:
    """A deployment: servers, settings (`values`), and methods to run scripts against it."""

    home: Path
    minio: Minio
    mysql: Mysql
    values: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.values = {
            "MYSQL_PASSWORD": self.mysql.password,
            "MYSQL_PORT": str(self.mysql.port),
            "MINIO_ROOT_USER": self.minio.access_key,
            "MINIO_ROOT_PASSWORD": self.minio.secret_key,
            "MINIO_PORT": self.minio.url.rpartition(":")[2],
            "SABUESO_STORE": "s3://sabueso/some/prefix",
            **self.values,
        }

    def start(self) -> Site:
        self.minio.start()
        self.mysql.start()
        self.empty()
        return self

    def stop(self) -> None:
        self.minio.stop()
        self.mysql.stop()

    def empty(self) -> None:
        """Empty the database and the buckets."""
        self.sql("DROP DATABASE mlflow; CREATE DATABASE mlflow CHARACTER SET utf8mb4", database=None)
        with contextlib.closing(self.minio.client()) as client:
            for bucket in ("sabueso", "mlflow"):
                with contextlib.suppress(client.exceptions.BucketAlreadyOwnedByYou):
                    client.create_bucket(Bucket=bucket)
                keys = [{"Key": key} for key in self.keys(bucket)]
                for at in range(0, len(keys), 1000):
                    client.delete_objects(Bucket=bucket, Delete={"Objects": keys[at : at + 1000]})

    def fill(self) -> None:
        self.sql(TABLES)
        self.sql("INSERT INTO experiments (name, at) VALUES ('pets', 1), ('covertype', 9007199254740993)")
        with contextlib.closing(self.connect()) as connection, connection.cursor() as cursor:
            cursor.executemany("INSERT INTO a_run VALUES (%s, %s, %s, %s, %s, %s, %s)", RUNS)
            connection.commit()
        for store, bodies in BODIES.items():
            self.put(store, bodies)

    def put(self, store: str, bodies: Mapping[str, bytes]) -> None:
        bucket, prefix = place(store)
        with contextlib.closing(self.minio.client()) as client, ThreadPoolExecutor(8) as pool:
            wait = [
                pool.submit(client.put_object, Bucket=bucket, Key=prefix + key, Body=body)
                for key, body in bodies.items()
            ]
            for one in wait:
                one.result()

    def objects(self) -> dict[str, dict[str, bytes]]:
        found = {}
        with contextlib.closing(self.minio.client()) as client, ThreadPoolExecutor(8) as pool:

            def read(bucket: str, key: str) -> bytes:
                return bytes(client.get_object(Bucket=bucket, Key=key)["Body"].read())

            for store in BODIES:
                bucket, prefix = place(store)
                keys = list(self.keys(bucket))
                bodies = pool.map(read, [bucket] * len(keys), keys)
                found[store] = {key.removeprefix(prefix): body for key, body in zip(keys, bodies, strict=True)}
        return found

    def keys(self, bucket: str) -> Iterator[str]:
        with contextlib.closing(self.minio.client()) as client:
            for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket):
                yield from (entry["Key"] for entry in page.get("Contents", []))

    def sql(self, text: str, database: str | None = "mlflow") -> None:
        with contextlib.closing(self.connect(database)) as connection, connection.cursor() as cursor:
            for statement in text.split(";\n" if "CREATE TABLE" in text else ";"):
                cursor.execute(statement)
            connection.commit()

    def rows(self) -> dict[str, Any]:
        """The contents of the database: the definition and the rows of each table."""
        found: dict[str, Any] = {}
        with contextlib.closing(self.connect()) as connection, connection.cursor() as cursor:
            cursor.execute("SHOW TABLES")
            for (table,) in cursor.fetchall():
                cursor.execute(f"SHOW CREATE TABLE `{table}`")
                made = cursor.fetchone()
                cursor.execute(f"SELECT * FROM `{table}` ORDER BY id")  # noqa: S608
                found[table] = (made, cursor.fetchall())
        return found

    def connect(self, database: str | None = "mlflow") -> Any:
        return pymysql.connect(
            host="127.0.0.1",
            port=self.mysql.port,
            user="root",
            password=self.mysql.root_password,
            database=database,
            charset="utf8mb4",
        )

    def begin(
        self,
        script: str,
        *arguments: Any,
        path: Path | None = None,
        search: str | None = None,
        max_bytes: int = 0,
        **values: str,
    ) -> subprocess.Popen[str]:
        """Start scripts/backup or scripts/restore without this machine's environment.

        `path`: a folder in front of PATH; `search`: replaces PATH; `max_bytes`: the largest file it may write.
        """
        settings = self.home / "settings"
        settings.touch(mode=0o600)
        settings.write_text("# made\n" + "".join(f"{name}={one}\n" for name, one in {**self.values, **values}.items()))
        temporary = self.home / "tmp"
        temporary.mkdir(exist_ok=True)
        module = {"backup": "backups.make", "restore": "backups.restore"}[script]
        places = os.environ["PATH"] if search is None else search
        limit = (resource.RLIMIT_FSIZE, (max_bytes, max_bytes))
        return subprocess.Popen(
            [sys.executable, "-m", module, "--env", str(settings), *map(str, arguments)],
            env={
                "PATH": f"{path}{os.pathsep}{places}" if path else places,
                "PYTHONPATH": f"{ROOT}/scripts:{ROOT}/functions",
                "TMPDIR": str(temporary),
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            preexec_fn=(lambda: resource.setrlimit(*limit)) if max_bytes else None,
        )

    def run(self, script: str, *arguments: Any, **more: Any) -> tuple[int, str]:
        """Exit code and output; checks that no password is printed or left in a file."""
        return self.end(self.begin(script, *arguments, **more))

    def end(self, process: subprocess.Popen[str]) -> tuple[int, str]:
        output, _ = process.communicate(timeout=120)
        assert not self.secrets_in(output)
        assert not self.temporary_files()
        assert "Traceback" not in output, output
        return process.returncode, output

    def temporary_files(self) -> list[Path]:
        """Temporary files that scripts did not delete."""
        return list((self.home / "tmp").iterdir())

    def secrets_in(self, text: str) -> bool:
        mine = (self.mysql.password, self.mysql.root_password, self.minio.access_key, self.minio.secret_key)
        return any(secret in text for secret in mine)


def place(store: str) -> tuple[str, str]:
    return ("sabueso", "some/prefix/") if store == "data" else ("mlflow", "")
