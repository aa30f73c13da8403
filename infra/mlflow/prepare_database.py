"""Waits until the database of MLFLOW_BACKEND_STORE_URI answers, and makes the tables of MLflow's accounts in MySQL.

DATABASE_WAIT_S: seconds to wait (default 120). Exit code 3 after them, 2 if the URI can't be used at all.
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

SAID_EVERY_S = 10


def _say(text: str) -> None:
    print(f"start: {text}", file=sys.stderr, flush=True)


def main() -> int:
    try:
        url = make_url(os.environ["MLFLOW_BACKEND_STORE_URI"])
        # A sign of the password that is not escaped makes a host or a name of its rest, which would be told below.
        if not url.database or "@" in f"{url.host}{url.database}":
            raise ValueError
        engine = create_engine(url)
    except (KeyError, ValueError, ArgumentError, NoSuchModuleError, ModuleNotFoundError) as error:
        # Others would show the URI, which holds a password, or a part of it.
        why = str(error) if isinstance(error, ModuleNotFoundError) else type(error).__name__
        _say(
            f"MLFLOW_BACKEND_STORE_URI can't be used ({why}); it is like mysql+pymysql://user:password@host:3306/name, "
            "with signs of the password other than letters and digits as %XX (@ as %40, : as %3A, / as %2F)"
        )
        return 2
    if not wait_for(engine, float(os.environ.get("DATABASE_WAIT_S", "120"))):
        return 3
    if engine.dialect.name in ("mysql", "mariadb") and not inspect(engine).has_table("alembic_version_auth"):
        make_account_tables(engine)
    engine.dispose()
    return 0


def wait_for(engine: Engine, patience: float) -> bool:
    """True as soon as the database takes a connection."""
    where = engine.url.set(query={}).render_as_string()  # with *** for the password
    began, said = time.monotonic(), None
    while True:
        try:
            engine.connect().close()
            return True
        except DBAPIError as error:
            why, now = str(error.orig).strip(), time.monotonic()
        if now - began >= patience:
            _say(f"gave up after {patience:g} s. Check that {where} runs and takes this account: {why}")
            return False
        if said is None or now - said >= SAID_EVERY_S:
            _say(f"waiting for {where}, {patience:g} s at most: {why}")
            said = now
        time.sleep(1)


def make_account_tables(engine: Engine) -> None:
    """MLflow's own migration, with foreign keys that the server names.

    It calls two of them `fk_user_id`. In MySQL and in MariaDB before 12.1 such a name may stand once in a database, so
    that MLflow alone never starts there with accounts (github.com/mlflow/mlflow/issues/9642).
    """

    @compiles(ForeignKeyConstraint, "mysql", "mariadb")
    def nameless(constraint: ForeignKeyConstraint, compiler: Any, **options: Any) -> str:
        constraint.name = None
        return str(compiler.visit_foreign_key_constraint(constraint, **options))

    # Not `migrate_if_needed`, which the server calls: it looks for its first table on one connection and makes it on
    # another. In MySQL the look locks the name until its transaction ends, so that both would wait for ever.
    from mlflow.server.auth.db.utils import migrate

    migrate(engine, "head")


if __name__ == "__main__":
    sys.exit(main())
