"""Variables in the addresses of sources."""

from __future__ import annotations

import re
from collections.abc import Mapping

from fetch_batch.errors import SourceUnavailable

_VARIABLE = re.compile(r"\$\{([A-Z][A-Z0-9_]*)(?::-([^}]*))?\}")


def resolve(text: str, environment: Mapping[str, str]) -> str:
    """Replace ${NAME} and ${NAME:-default} by the environment's values. Raises SourceUnavailable if one is missing."""

    def value(match: re.Match[str]) -> str:
        name, default = match.groups()
        text = environment.get(name) or default
        if not text:
            raise SourceUnavailable(f"the pipeline's source needs the variable {name}, which is not set")
        return text

    return _VARIABLE.sub(value, text)
