"""Asks a registry about an image, without a password (OCI distribution specification, "Pulling manifests")."""

from __future__ import annotations

import re

import requests

TIMEOUT_S = 15
MANIFEST_TYPES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)


def full_name(image: str) -> str:
    """The name with its registry, as containerd lists it: alice/classify:1 is docker.io/alice/classify:1."""
    host, slash, rest = image.partition("/")
    if host == "index.docker.io":
        return f"docker.io/{rest}"
    if slash and ("." in host or ":" in host or host == "localhost"):
        return image
    return f"docker.io/{image}" if slash else f"docker.io/library/{image}"


def find_image(image: str) -> tuple[bool | None, str]:
    """True, False, or None if unknown, with a message for people. `image` is host/name:tag."""
    host, _ = _registry(image)
    try:
        answer = head_manifest(image)
    except requests.RequestException as error:
        return None, f"not checked: no connection to {host} ({type(error).__name__})"
    if answer.status_code == 200:
        return True, "exists"
    if answer.status_code == 404:
        return False, f"{host} answers 404"
    return None, f"not checked: {host} needs a password ({answer.status_code})"


def head_manifest(image: str) -> requests.Response:
    """The registry's answer to HEAD for host/name:tag. Raises RequestException."""
    host, rest = _registry(image)
    name, _, tag = rest.partition(":")
    is_local = host.split(":")[0] in ("127.0.0.1", "localhost")
    url = f"{'http' if is_local else 'https'}://{host}/v2/{name}/manifests/{tag or 'latest'}"
    answer = _request(url, "")
    if answer.status_code == 401:
        answer = _request(url, _token(answer.headers.get("WWW-Authenticate", ""), is_local))
    return answer


def _registry(image: str) -> tuple[str, str]:
    host, _, rest = full_name(image).partition("/")
    return "registry-1.docker.io" if host == "docker.io" else host, rest  # the address of Docker Hub


def _request(url: str, token: str) -> requests.Response:
    headers = {"Accept": ", ".join(MANIFEST_TYPES)} | ({"Authorization": f"Bearer {token}"} if token else {})
    return requests.head(url, headers=headers, timeout=TIMEOUT_S, allow_redirects=True)


def _token(challenge: str, is_local: bool) -> str:
    """An anonymous token, which registries issue for public images; "" if there is none."""
    parts = dict(re.findall(r'(\w+)="([^"]*)"', challenge))
    if not parts.get("realm", "").startswith(("https://", "http://127.0.0.1:") if is_local else "https://"):
        return ""
    query = {key: parts[key] for key in ("service", "scope") if key in parts}
    answer = requests.get(parts["realm"], params=query, timeout=TIMEOUT_S)
    if answer.status_code != 200:
        return ""
    body = answer.json()
    return str(body.get("token") or body.get("access_token") or "")
