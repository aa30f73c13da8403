"""scripts/pin-images: writes the digest of each image that others publish behind its tag.

Reads the digests from the images' registries, and edits the compose files, the Kubernetes files and the Dockerfiles.
Either all images are pinned or no file is changed. A pinned image stays the same until you run this again; images that
we build ourselves have no digest before they are pushed.
Exit code: 0 all are pinned, 1 --check found one that is not pinned or stale, 2 a digest can't be read.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import requests

from deployment.images import full_name, head_manifest

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "infra" / "openfaas" / "kubernetes"
FILES = [
    *(ROOT / "infra" / name for name in ("compose.yaml", "containers.yaml")),
    *sorted(FOLDER.glob("*.yaml")),
    *sorted((ROOT / "infra").glob("*/Dockerfile")),
    ROOT / "functions" / "Dockerfile",
]
OURS = re.compile(r"\$\{|(^|/)sabueso/")
DIGEST = re.compile(r"sha256:[0-9a-f]{64}\Z")


class NoDigest(Exception):
    """The registry gives no digest for an image, and why."""


@dataclass(frozen=True)
class Place:
    """Where a file names an image; the digest is written behind `written`, which may be the tag alone (an ARG)."""

    begin: int
    end: int
    written: str
    image: str
    digest: str


def places(file: Path, text: str) -> list[Place]:
    """The images in a file that others publish."""
    found = _in_dockerfile(text) if file.name == "Dockerfile" else _in_yaml(text)
    return sorted({one for one in found if not OURS.search(one.image)}, key=lambda one: one.begin)


def _in_yaml(text: str) -> Iterator[Place]:
    for line in re.finditer(r"^[ -]*image: +([^\s#]+)", text, re.MULTILINE):
        yield _place(line.span(1), line[1], "")


def _in_dockerfile(text: str) -> Iterator[Place]:
    arguments = {line[1]: line for line in re.finditer(r"^ARG (\w+)=(\S+)", text, re.MULTILINE)}
    stages = {*re.findall(r"^FROM .* AS (\S+)", text, re.MULTILINE), "scratch"}
    for line in re.finditer(r"^FROM (\S+)", text, re.MULTILINE):
        repository = re.fullmatch(r"(.+)\$\{(\w+)\}", line[1])
        if repository:
            argument = arguments[repository[2]]
            yield _place(argument.span(2), argument[2], repository[1])
        elif line[1] not in stages:
            yield _place(line.span(1), line[1], "")


def _place(span: tuple[int, int], written: str, repository: str) -> Place:
    tag, _, digest = written.partition("@")
    return Place(*span, tag, repository + tag, digest)


def read_digest(image: str) -> str:
    """Raises NoDigest."""
    host = full_name(image).partition("/")[0]
    try:
        answer = head_manifest(image)
    except requests.RequestException as error:
        raise NoDigest(f"{image}: no connection to {host} ({type(error).__name__})") from None
    if answer.status_code != 200:
        raise NoDigest(f"{image}: {host} answers {answer.status_code}; is the tag right, and public?")
    digest = answer.headers.get("Docker-Content-Digest", "")
    if not DIGEST.match(digest):
        raise NoDigest(f"{image}: {host} sends no digest (Docker-Content-Digest)")
    return digest


def read_digests(images: set[str]) -> dict[str, str]:
    """Raises NoDigest with all reasons."""
    digests, reasons = {}, []
    for image in sorted(images):
        try:
            digests[image] = read_digest(image)
        except NoDigest as error:
            reasons.append(str(error))
    if reasons:
        raise NoDigest("\n".join(reasons))
    return digests


def pinned(text: str, found: list[Place], digests: dict[str, str]) -> str:
    for place in reversed(found):
        text = f"{text[: place.begin]}{place.written}@{digests[place.image]}{text[place.end :]}"
    return text


def complaints(found: list[Place], digests: dict[str, str]) -> list[str]:
    """Which images are not pinned to the digest of their registry."""
    return [
        f"{place.image} is pinned to {place.digest}, but its tag now means {digests[place.image]}"
        if place.digest
        else f"{place.image} is not pinned"
        for place in found
        if place.digest != digests[place.image]
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", type=Path, default=FILES, metavar="FILE", help="instead of those files")
    parser.add_argument("--check", action="store_true", help="change nothing; say what is not pinned or stale")
    given = parser.parse_args()
    try:
        texts = {file: file.read_text(encoding="utf-8") for file in given.files}
    except OSError as error:
        print(f"! {error.filename}: {error.strerror}", file=sys.stderr)
        return 2
    found = {file: places(file, text) for file, text in texts.items()}
    try:
        digests = read_digests({place.image for each in found.values() for place in each})
    except NoDigest as error:
        print("".join(f"! {line}\n" for line in str(error).splitlines()) + "No file was changed.", file=sys.stderr)
        return 2
    wrong = 0
    for file, text in texts.items():
        name = file.relative_to(ROOT) if file.is_relative_to(ROOT) else file
        for complaint in complaints(found[file], digests):
            print(f"{name}: {complaint}")
            wrong += 1
        if not given.check:
            file.write_text(pinned(text, found[file], digests), encoding="utf-8")
    if given.check:
        print("Run scripts/pin-images" if wrong else f"All {len(digests)} images are pinned")
        return 1 if wrong else 0
    print(f"Pinned {len(digests)} images; {wrong} places changed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
