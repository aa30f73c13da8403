"""Waits for the database of MLFLOW_BACKEND_STORE_URI, and creates the tables of MLflow's accounts in MySQL.

DATABASE_WAIT_S: seconds to wait (default 120). Exit code 2: the URI is invalid; 3: no answer in time.
"""

from __future__ import annotations

import os
import sys
import time
from typing import Any

from sqlalchemy import ForeignKeyConstraint, create_engine, inspect
from sqlalchemy.engine import Engine, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError
from sqlalchemy.ext.compiler import compiles

LOG_EVERY_S = 10


def _log(text: str) -> None:
    print(f"start: {text}", file=sys.stderr, flush=True)


def main() -> int:
    try:
        url = make_url(os.environ["MLFLOW_BACKEND_STORE_URI"])
        # An unescaped character in the password would make its rest a part of the host or name, which are logged below.
        if not url.database or "@" in f"{url.host}{url.database}":
            raise ValueError
        engine = create_engine(url)
    except (KeyError, ValueError, ArgumentError, NoSuchModuleError, ModuleNotFoundError) as error:
        # Messages of the other errors may show the URI with its password.
        reason = str(error) if isinstance(error, ModuleNotFoundError) else type(error).__name__
        _log(
            f"MLFLOW_BACKEND_STORE_URI is invalid ({reason}). Use mysql+pymysql://user:password@host:3306/name and "
            "write special characters of the password as %XX (@ as %40, : as %3A, / as %2F)"
        )
        return 2
    if not wait_for(engine, float(os.environ.get("DATABASE_WAIT_S", "120"))):
        return 3
    if engine.dialect.name in ("mysql", "mariadb") and not inspect(engine).has_table("alembic_version_auth"):
        make_account_tables(engine)
    engine.dispose()
    return 0


def wait_for(engine: Engine, limit_s: float) -> bool:
    """True as soon as the database accepts a connection; False after `limit_s`."""
    where = engine.url.set(query={}).render_as_string()  # shows *** as the password
    began, logged_at = time.monotonic(), None
    while True:
        try:
            engine.connect().close()
            return True
        except DBAPIError as error:
            reason, now = str(error.orig).strip(), time.monotonic()
        if now - began >= limit_s:
            _log(f"gave up after {limit_s:g} s. Check that {where} is running and accepts this account: {reason}")
            return False
        if logged_at is None or now - logged_at >= LOG_EVERY_S:
            _log(f"waiting up to {limit_s:g} s for {where}: {reason}")
            logged_at = now
        time.sleep(1)


def make_account_tables(engine: Engine) -> None:
    """Run MLflow's own migration, with foreign keys that the server names.

    The migration names two of them `fk_user_id`. MySQL, and MariaDB before 12.1, allow a name only once per database,
    so MLflow with accounts fails to start there (github.com/mlflow/mlflow/issues/9642).
    """

    @compiles(ForeignKeyConstraint, "mysql", "mariadb")
    def nameless(constraint: ForeignKeyConstraint, compiler: Any, **options: Any) -> str:
        constraint.name = None
        return str(compiler.visit_foreign_key_constraint(constraint, **options))

    # Not `migrate_if_needed`, which the server calls: it checks for its first table on one connection and creates it on
    # another. In MySQL the check locks the name until its transaction ends: a deadlock.
    from mlflow.server.auth.db.utils import migrate

    migrate(engine, "head")


if __name__ == "__main__":
    sys.exit(main())
