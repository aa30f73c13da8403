"""The address of a source: with the values of its variables to ask it, without them to show it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl, quote, quote_plus, unquote

from common.pipelines import Source
from common.redaction import HIDDEN, shown_url
from common.storage.dataset import SourceDocument, source_identity
from fetch_batch.errors import SourceUnavailable

_VARIABLE = re.compile(r"\$\{([A-Z][A-Z0-9_]*)(?::-([^}]*))?\}")
MIN_SECRET = 4  # characters: a shorter value, such as the number of a group, occurs in other texts by chance


@dataclass(frozen=True)
class ConfiguredSource:
    """A source with its secrets. `document`: as it may be stored and shown."""

    type: str
    location: str
    params: Mapping[str, str]
    document: SourceDocument
    secrets: frozenset[str]

    def hide_secrets(self, text: str) -> str:
        """A text of the source, which may repeat what it was asked with, without the secrets."""
        spellings = {spell(secret) for secret in self.secrets for spell in (str, unquote, quote, quote_plus)}
        for secret in sorted(spellings, key=len, reverse=True):
            text = text.replace(secret, HIDDEN) if len(secret) >= MIN_SECRET else text
        return text


def configured_source(source: Source, environment: Mapping[str, str]) -> ConfiguredSource:
    """Raises SourceUnavailable if a variable is missing."""
    location = resolve(source.url or source.path, environment)
    params = {key: resolve(value, environment) for key, value in source.params.items()}
    document = SourceDocument(
        type=source.type,
        location=shown_url(location),
        params={key: _shown(value, environment) for key, value in source.params.items()},
        identity=source_identity(source.type, location, params),
    )
    return ConfiguredSource(source.type, location, params, document, _secrets(source, location, environment))


def _secrets(source: Source, location: str, environment: Mapping[str, str]) -> frozenset[str]:
    """The values of variables in params, and the account and the query of the URL."""
    secrets = {
        environment[name]
        for text in source.params.values()
        for name, default in _VARIABLE.findall(text)
        if environment.get(name) and environment[name] != default
    }
    before_path = location.partition("://")[2].partition("/")[0]
    account = before_path.rpartition("@")[0]
    query = location.partition("?")[2]
    return frozenset(secrets | {account, *account.split(":", 1), query, *(value for _, value in parse_qsl(query))})


def resolve(text: str, environment: Mapping[str, str]) -> str:
    """Replace ${NAME} and ${NAME:-default} by the environment's values. Raises SourceUnavailable if one is missing."""

    def value(match: re.Match[str]) -> str:
        name, default = match.groups()
        text = environment.get(name) or default
        if not text:
            raise SourceUnavailable(f"the pipeline's source needs the variable {name}, which is not set")
        return text

    return _VARIABLE.sub(value, text)


def _shown(text: str, environment: Mapping[str, str]) -> str:
    """The text with the defaults that hold; any other value stays ${NAME}, because it may be secret."""

    def value(match: re.Match[str]) -> str:
        name, default = match.groups()
        return default if default and environment.get(name) in (None, "", default) else f"${{{name}}}"

    return _VARIABLE.sub(value, text)
