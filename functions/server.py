"""The process of a function: FUNCTION=classify -> that function's Flask app behind waitress."""

from __future__ import annotations

import importlib
import os
import sys
import tempfile

FUNCTIONS = {"fetch-batch": "fetch_batch", "train": "train", "classify": "classify"}


def main() -> int:
    name = os.environ.get("FUNCTION", "")
    if name not in FUNCTIONS:
        print(f"FUNCTION must be one of {', '.join(FUNCTIONS)}, not {name!r}", file=sys.stderr)
        return 2
    from common.errors import WrongSettings
    from common.settings import read_settings

    try:
        settings = read_settings(os.environ)
        # Large bodies are kept in temporary files: in the one folder that may be written to.
        settings.scratch.mkdir(parents=True, exist_ok=True)
        tempfile.tempdir = str(settings.scratch)
        app = importlib.import_module(f"{FUNCTIONS[name]}.app").create_app(settings)
        port = int(os.environ.get("PORT", "8080"))
    except WrongSettings as error:
        print(error.detail, file=sys.stderr)
        return 2
    from waitress import serve

    # Above the app's own limit, so that a body that is too large gets the problem document.
    body = int(settings.max_body_mb * 4_000_000)
    serve(
        app,
        host=os.environ.get("HOST", "0.0.0.0"),
        port=port,
        threads=settings.threads,
        max_request_body_size=body,
        ident=None,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
