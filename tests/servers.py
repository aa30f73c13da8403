"""Real servers for tests: each a process on a free loopback port that can be stopped, killed and restarted."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

import boto3
import pymysql
import pytest
import requests
import yaml
from botocore.exceptions import BotoCoreError, ClientError

from ports import free_port

ROOT = Path(__file__).resolve().parents[1]
START_S = 180
MINIO_NEEDED = "no `minio` in PATH, $GOBIN or ~/go/bin; .ci/run shows how it is installed with Go"
VERSITYGW_NEEDED = "no `versitygw` in PATH, $GOBIN or ~/go/bin; .ci/run shows how it is installed with Go"
MYSQL_NEEDED = "no `mariadbd` with `mariadb-install-db`; on Debian: apt install mariadb-server"
POSTGRES_NEEDED = "no `initdb` of PostgreSQL in PATH or /usr/lib/postgresql; on Debian: apt install postgresql"


def missing(what: str) -> None:
    """Skip the test with the reason; fail it if nothing may be skipped (SABUESO_NO_SKIP=1)."""
    if os.environ.get("SABUESO_NO_SKIP") == "1":
        pytest.fail(what)
    pytest.skip(what)


def program(name: str, needed: str) -> str:
    """The path of a server's program. Without it the test is skipped."""
    folders = [os.environ.get("PATH", ""), os.environ.get("GOBIN", ""), str(Path("~/go/bin").expanduser())]
    folders += ["/usr/sbin", "/usr/local/sbin", *map(str, Path("/usr/lib/postgresql").glob("*/bin"))]
    path = shutil.which(name, path=os.pathsep.join(folder for folder in folders if folder))
    if path is None:
        missing(needed)
    return str(path)


class Server:
    """One process; `start` waits until it is `ready`, `stop` ends its whole process group."""

    def __init__(self, name: str, command: list[str], environment: dict[str, str], home: Path, **options: Any) -> None:
        self.name, self.command, self.environment, self.home = name, command, environment, home
        self.options = options
        self.log = home / f"{name}.log"
        self.process: subprocess.Popen[bytes] | None = None

    def ready(self) -> bool:
        raise NotImplementedError

    def start(self, wait: bool = True) -> Server:
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                self.command,
                env={"PATH": os.environ["PATH"], "HOME": str(self.home), **self.environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                cwd=self.home,
                **self.options,
            )
        if wait:
            self.wait()
        return self

    def wait(self) -> None:
        until = time.monotonic() + START_S
        while time.monotonic() < until and self.process is not None and self.process.poll() is None:
            with contextlib.suppress(requests.RequestException, OSError, pymysql.Error, ClientError, BotoCoreError):
                if self.ready():
                    return
            time.sleep(0.1)
        pytest.fail(f"{self.name} did not start; the end of its log:\n{self.log.read_text()[-3000:]}")

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        if self.process is None:
            return
        for number in (how, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(15)
        self.process = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def answers(url: str) -> bool:
    return requests.get(url, timeout=5).status_code == 200


class S3Server(Server):
    """An S3 server with its root key."""

    url: str
    access_key: str
    secret_key: str

    def client(self, access_key: str = "", secret_key: str = "") -> Any:
        return boto3.client(
            "s3",
            endpoint_url=self.url,
            region_name="us-east-1",
            aws_access_key_id=access_key or self.access_key,
            aws_secret_access_key=secret_key or self.secret_key,
        )

    def make_bucket(self, name: str) -> str:
        with contextlib.closing(self.client()) as client:
            client.create_bucket(Bucket=name)
        return name

    def settings(self, bucket: str, folder: Path, function: str = "") -> dict[str, str]:
        """The environment of a function with its store in that bucket; its secret files are written to `folder`."""
        folder.mkdir(parents=True, exist_ok=True)
        prefix = f"{function}-" if function else ""
        (folder / f"{prefix}s3-access-key").write_text(self.access_key)
        (folder / f"{prefix}s3-secret-key").write_text(self.secret_key)
        return {
            "FUNCTION": function,
            "SABUESO_STORE": f"s3://{bucket}",
            "AWS_ENDPOINT_URL_S3": self.url,
            "SABUESO_SECRETS": str(folder),
        }


class Minio(S3Server):
    def __init__(self, home: Path, host: str = "127.0.0.1") -> None:
        self.url = f"http://{host}:{free_port()}"
        self.access_key, self.secret_key = secrets.token_hex(8), secrets.token_hex(16)
        keys = {"MINIO_ROOT_USER": self.access_key, "MINIO_ROOT_PASSWORD": self.secret_key}
        off = {"MINIO_BROWSER": "off", "MINIO_UPDATE": "off"}
        address = self.url.removeprefix("http://")
        command = [program("minio", MINIO_NEEDED), "server", "--address", address, str(home / "minio")]
        super().__init__("minio", command, {**keys, **off}, home)

    def ready(self) -> bool:
        if not answers(f"{self.url}/minio/health/ready"):
            return False
        with contextlib.closing(self.client()) as client:
            client.list_buckets()  # still refused for a moment after its health check succeeds
        return True


class Versitygw(S3Server):
    """versitygw on a folder. Attributes of objects are in files beside it, so any file system will do."""

    def __init__(self, home: Path) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.access_key, self.secret_key = secrets.token_hex(8), secrets.token_hex(16)
        keys = {"ROOT_ACCESS_KEY": self.access_key, "ROOT_SECRET_KEY": self.secret_key}
        (home / "versitygw").mkdir()
        (home / "attributes").mkdir()
        gateway = [program("versitygw", VERSITYGW_NEEDED), "--port", f"127.0.0.1:{port}"]
        super().__init__(
            "versitygw",
            [*gateway, "posix", "--sidecar", str(home / "attributes"), str(home / "versitygw")],
            keys,
            home,
        )

    def ready(self) -> bool:
        return requests.get(self.url, timeout=5).status_code == 403  # the request is not signed


class Mysql(Server):
    """MariaDB with a database `mlflow` and its account; the data stay in `home` while it is stopped."""

    def __init__(self, home: Path) -> None:
        self.port, self.password, self.root_password = free_port(), secrets.token_hex(12), secrets.token_hex(12)
        install, data = program("mariadb-install-db", MYSQL_NEEDED), home / "mysql"
        user = ["--user=root"] if os.geteuid() == 0 else []
        made = subprocess.run(
            [install, "--no-defaults", f"--datadir={data}", "--auth-root-authentication-method=normal", *user],
            capture_output=True,
            text=True,
            check=False,
        )
        assert made.returncode == 0, made.stdout + made.stderr
        self.socket = home / "mysql.sock"
        command = [program("mariadbd", MYSQL_NEEDED), "--no-defaults", f"--datadir={data}", f"--socket={self.socket}"]
        command += [f"--port={self.port}", "--bind-address=127.0.0.1", "--innodb-buffer-pool-size=64M", *user]
        # The binary log is the default of MySQL's image. MariaDB lacks the collation that compose.yaml sets.
        options = yaml.safe_load((ROOT / "infra" / "compose.yaml").read_text())["services"]["mysql"]["command"]
        command += ["--log-bin=binlog", *(option for option in options if "collation" not in option)]
        super().__init__("mysql", command, {}, home)
        self.uri = f"mysql+pymysql://mlflow:{self.password}@127.0.0.1:{self.port}/mlflow"

    def ready(self) -> bool:
        # pymysql leaves the socket of a refused connection open, so the port is tried first.
        with socket.create_connection(("127.0.0.1", self.port), 1):
            pass
        with contextlib.closing(self.connect()) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        return True

    def connect(self) -> Any:
        try:
            return pymysql.connect(unix_socket=str(self.socket), user="root", password=self.root_password)
        except pymysql.OperationalError as error:
            if error.args[0] != 1045:  # on the first start root has no password
                raise
        first = pymysql.connect(unix_socket=str(self.socket), user="root")
        with contextlib.closing(first), first.cursor() as cursor:
            cursor.execute("CREATE DATABASE mlflow CHARACTER SET utf8mb4")
            cursor.execute("CREATE USER mlflow@'%%' IDENTIFIED BY %s", (self.password,))
            cursor.execute("GRANT ALL ON mlflow.* TO mlflow@'%'")
            cursor.execute("DROP USER IF EXISTS ''@localhost")
            for host in ("localhost", "127.0.0.1"):
                cursor.execute("CREATE USER IF NOT EXISTS root@%s", (host,))
                cursor.execute("GRANT ALL ON *.* TO root@%s WITH GRANT OPTION", (host,))
                cursor.execute("ALTER USER root@%s IDENTIFIED BY %s", (host, self.root_password))
        return pymysql.connect(unix_socket=str(self.socket), user="root", password=self.root_password)


class Mlflow(Server):
    """MLflow's server as its container starts it (infra/mlflow/start): accounts, proxied artifacts in S3."""

    def __init__(
        self, home: Path, s3: S3Server, backend_uri: str, bucket: str = "mlflow", host: str = "127.0.0.1"
    ) -> None:
        self.port, self.admin_password = free_port(), secrets.token_hex(12)
        self.url = f"http://{host}:{self.port}"
        folder = home / "run-secrets"
        folder.mkdir(mode=0o700, exist_ok=True)
        for name, text in {
            "mlflow_s3_access_key": s3.access_key,
            "mlflow_s3_secret_key": s3.secret_key,
            "mlflow_admin_password": self.admin_password,
            "mlflow_session_key": secrets.token_hex(16),
            "mlflow_backend_store_uri": backend_uri,
        }.items():
            (folder / name).write_text(text)
        environment = {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "SECRETS_FOLDER": str(folder),
            "AWS_ENDPOINT_URL_S3": s3.url,
            "MLFLOW_BUCKET_URL": f"s3://{bucket}",
            "MLFLOW_HOST": host,
            **({} if host == "127.0.0.1" else {"MLFLOW_ALLOWED_HOSTS": f"{host}:*"}),
            "MLFLOW_READERS": "",
            "MLFLOW_PORT": str(self.port),
            "MLFLOW_WORKERS": "1",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "TMPDIR": str(home),
        }
        super().__init__("mlflow", [str(ROOT / "infra" / "mlflow" / "start")], environment, home)

    def ready(self) -> bool:
        return answers(f"{self.url}/health")


class Postgres(Server):
    """PostgreSQL with a database `mlflow`; it refuses to run as root, so there it runs as `nobody`."""

    def __init__(self, home: Path) -> None:
        # Characters with a meaning in URIs and ini files, as a person's own password may have.
        self.port, self.password, data = free_port(), f"{secrets.token_hex(12)}%/@", home / "postgres"
        self.state = data / "postmaster.pid"
        initdb, server = program("initdb", POSTGRES_NEEDED), program("postgres", POSTGRES_NEEDED)
        options: dict[str, Any] = {"user": "nobody", "group": "nogroup"} if os.geteuid() == 0 else {}
        data.mkdir()
        pwfile = home / "pwfile"
        pwfile.write_text(self.password)
        if options:
            for path in (data, pwfile):
                shutil.chown(path, "nobody", "nogroup")
            for folder in (home, *home.parents):  # pytest's folders are private to their owner
                if folder.stat().st_uid == 0 and folder.stat().st_mode & 0o001 == 0:
                    folder.chmod(folder.stat().st_mode | 0o011)
        made = subprocess.run(
            [initdb, "-D", str(data), "-U", "mlflow", f"--pwfile={pwfile}", "-A", "scram-sha-256"],
            capture_output=True,
            text=True,
            check=False,
            cwd=data,
            **options,
        )
        assert made.returncode == 0, made.stdout + made.stderr
        command = [server, "-D", str(data), "-p", str(self.port), "-k", "", "-c", "listen_addresses=127.0.0.1"]
        super().__init__("postgres", command, {}, home, **options)
        self.uri = f"postgresql://mlflow:{quote(self.password, safe='')}@127.0.0.1:{self.port}/postgres"

    def ready(self) -> bool:
        """Whether its state file says so: while it starts it accepts connections and then refuses them."""
        lines = [line.strip() for line in self.state.read_text().splitlines()]
        return self.process is not None and lines[:1] == [str(self.process.pid)] and lines[-1] == "ready"
