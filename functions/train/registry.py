"""MLflow's registry as train uses it: list versions, move aliases, write tags and pages."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from common.registry import CHAMPION, Registry
from train.version_tags import VersionTags, read_tags


@dataclass(frozen=True)
class ModelVersion:
    """A version as MLflow stores it; `description` is its page, as Markdown."""

    number: str
    run_id: str | None
    description: str
    tags: VersionTags


class VersionRegistry(Registry):
    """Every method raises RegistryUnavailable if MLflow does not answer."""

    def check(self) -> None:
        """One call that needs MLflow and its database. Raises RegistryUnavailable, naming the one that is down."""
        self.call("GET", "experiments/get-by-name", params={"experiment_name": "Default"})

    def version(self, name: str, number: str) -> ModelVersion | None:
        answer = self.call("GET", "model-versions/get", params={"name": name, "version": number})
        return None if answer is None else _version(answer["model_version"])

    def versions(self, name: str) -> list[ModelVersion]:
        """All versions of a model, newest first."""
        listed: list[ModelVersion] = []
        token = ""
        while True:
            query = {"filter": f"name='{name}'", "max_results": "200", **({"page_token": token} if token else {})}
            page = self.call("GET", "model-versions/search", params=query) or {}
            listed += [_version(one) for one in page.get("model_versions", [])]
            token = page.get("next_page_token", "")
            if not token:
                return sorted(listed, key=lambda version: -int(version.number))

    def move_alias(self, name: str, number: str, alias: str = CHAMPION) -> None:
        self.call("POST", "registered-models/alias", json={"name": name, "alias": alias, "version": number})

    def tag_version(self, name: str, number: str, tags: dict[str, str]) -> None:
        """Set the tags in their order."""
        for key, value in tags.items():
            body = {"name": name, "version": number, "key": key, "value": value}
            self.call("POST", "model-versions/set-tag", json=body)

    def describe_version(self, name: str, number: str, text: str) -> None:
        """Write a version's page, as Markdown of at most 5,000 characters: MLflow's database holds no more."""
        self.call("PATCH", "model-versions/update", json={"name": name, "version": number, "description": text})

    def end_run(self, run_id: str, status: str) -> None:
        """Mark a run as `FINISHED`, `FAILED` or `KILLED`. No error if there is no such run."""
        body = {"run_id": run_id, "status": status, "end_time": int(time.time() * 1000)}
        self.call("POST", "runs/update", json=body)


def _version(answer: dict[str, Any]) -> ModelVersion:
    tags = {tag["key"]: tag.get("value", "") for tag in answer.get("tags", [])}
    return ModelVersion(
        number=str(answer["version"]),
        run_id=answer.get("run_id") or None,
        description=answer.get("description", ""),
        tags=read_tags(tags),
    )
