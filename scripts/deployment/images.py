"""Is an image in its registry? Asked as anybody may ask (OCI distribution specification, "Pulling manifests")."""

from __future__ import annotations

import re

import requests

TIMEOUT_S = 15
KINDS = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)


def whole_name(image: str) -> str:
    """The name with its registry, as containerd lists it: alice/classify:1 is docker.io/alice/classify:1."""
    host, slash, rest = image.partition("/")
    if host == "index.docker.io":
        return f"docker.io/{rest}"
    if slash and ("." in host or ":" in host or host == "localhost"):
        return image
    return f"docker.io/{image}" if slash else f"docker.io/library/{image}"


def find_image(image: str) -> tuple[bool | None, str]:
    """True, False or None for "can't be told from here", and the reason in words. `image` is host/name:tag."""
    host, _, rest = whole_name(image).partition("/")
    host = "registry-1.docker.io" if host == "docker.io" else host  # what Docker Hub is called, and where it is
    name, _, tag = rest.partition(":")
    plain = host.split(":")[0] in ("127.0.0.1", "localhost")
    url = f"{'http' if plain else 'https'}://{host}/v2/{name}/manifests/{tag or 'latest'}"
    try:
        answer = _ask(url, "")
        if answer.status_code == 401:
            answer = _ask(url, _token(answer.headers.get("WWW-Authenticate", "")))
    except requests.RequestException as error:
        return None, f"not looked for, {host} was not reached from here ({type(error).__name__})"
    if answer.status_code == 200:
        return True, "there"
    if answer.status_code == 404:
        return False, f"{host} answers 404"
    return None, f"not looked for, {host} shows it to nobody without a password ({answer.status_code})"


def _ask(url: str, token: str) -> requests.Response:
    headers = {"Accept": ", ".join(KINDS)} | ({"Authorization": f"Bearer {token}"} if token else {})
    return requests.head(url, headers=headers, timeout=TIMEOUT_S, allow_redirects=True)


def _token(challenge: str) -> str:
    """A token for nobody in particular, as a registry hands it out for images that anybody may pull; or ""."""
    parts = dict(re.findall(r'(\w+)="([^"]*)"', challenge))
    if not parts.get("realm", "").startswith("https://"):
        return ""
    asked = {key: parts[key] for key in ("service", "scope") if key in parts}
    answer = requests.get(parts["realm"], params=asked, timeout=TIMEOUT_S)
    if answer.status_code != 200:
        return ""
    found = answer.json()
    return str(found.get("token") or found.get("access_token") or "")
