"""What a gateway and its functions tell of what runs there."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass

import requests

from deployment.faas_cli import Programs, end_of
from deployment.images import whole_name
from local.stack import Function


@dataclass(frozen=True)
class Gateway:
    """A gateway, asked with faas-cli where it wants a password, and over HTTP where its functions answer."""

    url: str
    programs: Programs

    def images(self) -> dict[str, str]:
        """The image of each function that is deployed. Raises StepFailed."""
        return {one["name"]: one["image"] for one in self.programs.listed("list")}

    def runs(self, function: Function) -> str:
        """The image that is listed for it, with its registry; or "". Raises StepFailed."""
        image = self.images().get(function.name, "")
        return whole_name(image) if image else ""

    def is_busy(self, function: str, pipeline: str) -> bool:
        """Does a fetch or a training of this pipeline run? What can't be asked is taken for idle."""
        try:
            told = requests.get(f"{self.url}/function/{function}/{pipeline}", timeout=30).json()
            newest = told["executions" if function == "fetch-batch" else "history"][:1]
            return bool(newest) and newest[0]["state"] == "running"
        except (requests.RequestException, ValueError, KeyError, TypeError, AttributeError):
            return False

    def deployment_of(self, function: Function) -> str:
        """What its /readyz tells of its deployment, or why it is not ready."""
        try:
            answer = requests.get(f"{self.url}/function/{function.name}/readyz", timeout=10)
            if answer.status_code == 200:
                return str(answer.json()["deployment"]) or "a replica of before answers"
        except requests.RequestException as error:
            return type(error).__name__
        except (ValueError, KeyError, TypeError):
            return "a replica of another release answers"
        return f"{answer.status_code} {answer.text[:200].strip()}"

    def log(self, function: Function) -> str:
        """The end of its log, or "" where there is none."""
        words = ["faas-cli", "logs", function.name, "--tail=false", "--since=15m"]
        try:
            done = subprocess.run(
                words, env=dict(self.programs.environment), capture_output=True, text=True, timeout=20, check=False
            )
        except (OSError, subprocess.SubprocessError):
            return ""
        return f"; its log{end_of(done.stdout)}" if done.stdout.strip() else ""
