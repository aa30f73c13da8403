"""What may be shown of a URL: scheme, host, port and path. Accounts, passwords, queries and fragments may be secret."""

from __future__ import annotations

import re
from urllib.parse import urlsplit, urlunsplit

HIDDEN = "***"
# Each match begins where a run of its characters begins, so that a long text takes linear time.
# Messages of earlier versions have the parameters of a source as JSON behind its URL.
_URL = re.compile(
    r"(?<![a-z0-9+.-])([a-z][a-z0-9+.-]*://(?:[^/\s\"]*@)?[^\s\"'<>`]*)(?: \{[^{}\n]{0,2000}\})?", re.IGNORECASE
)
_QUERY = re.compile(r"(?<=[\w/.-])\?[^\s\"'<>()=]{1,200}=[^\s\"'<>)]*")
_ACCOUNT = re.compile(r"(?<![^\s/@:\"'])[^\s/@:\"']{1,200}:[^\s/@]{1,200}@")
_END = ".,;:)]}"


def without_account(url: str) -> str:
    """The URL without user name and password; only its scheme if a badly escaped password may be anywhere in it."""
    try:
        parts = urlsplit(url)
        _, at, host = parts.netloc.rpartition("@")
        hides_account = parts.port is not None and not at and "@" in url
    except ValueError:
        hides_account = True
    if hides_account:
        return f"{url.partition('://')[0]}://{HIDDEN}"
    return urlunsplit(parts._replace(netloc=host)) if at else url


def shown_url(url: str) -> str:
    """The URL without user name, password, query and fragment. Paths of files stay as they are."""
    if "://" not in url:
        return url
    shown = without_account(url.strip())
    return re.split(r"[?#]", shown, maxsplit=1)[0]


def redact(text: str) -> str:
    """The text with every URL in it as it may be shown; also accounts and queries that stand alone."""
    if "://" in text:
        text = _URL.sub(_shown_match, text)
    if "?" in text:
        text = _QUERY.sub("", text)
    return _ACCOUNT.sub(f"{HIDDEN}@", text) if "@" in text else text


def _shown_match(match: re.Match[str]) -> str:
    url = match[1].rstrip(_END)
    return shown_url(url) + match[1][len(url) :]
