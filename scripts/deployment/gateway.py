"""Asks a gateway and its functions what is deployed and running."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass

import requests

from common.redaction import shown_url
from deployment.faas_cli import Programs, end_of
from deployment.images import full_name
from local.stack import Function


@dataclass(frozen=True)
class Gateway:
    """A gateway: faas-cli for calls that need a password, HTTP for calls to functions."""

    url: str
    programs: Programs

    @property
    def shown(self) -> str:
        """Its URL without an account."""
        return shown_url(self.url)

    def images(self) -> dict[str, str]:
        """The image of each function that is deployed. Raises StepFailed."""
        return {function["name"]: function["image"] for function in self.programs.list_json("list")}

    def image_of(self, function: Function) -> str:
        """The deployed image with its registry; "" if there is none. Raises StepFailed."""
        image = self.images().get(function.name, "")
        return full_name(image) if image else ""

    def is_busy(self, function: str, pipeline: str) -> bool:
        """Whether a fetch or a training of the pipeline is running; False if there is no answer."""
        try:
            status = requests.get(f"{self.url}/function/{function}/{pipeline}", timeout=30).json()
            newest = status["executions" if function == "fetch-batch" else "history"][:1]
            return bool(newest) and newest[0]["state"] == "running"
        except (requests.RequestException, ValueError, KeyError, TypeError, AttributeError):
            return False

    def deployment_of(self, function: Function) -> str:
        """The deployment that /readyz names, or the reason why it is not ready."""
        try:
            answer = requests.get(f"{self.url}/function/{function.name}/readyz", timeout=10)
            if answer.status_code == 200:
                return str(answer.json()["deployment"]) or "an old replica answers"
        except requests.RequestException as error:
            return type(error).__name__
        except (ValueError, KeyError, TypeError):
            return "a replica of another release answers"
        return f"{answer.status_code} {answer.text[:200].strip()}"

    def log(self, function: Function) -> str:
        """The end of its log; "" if there is none."""
        words = ["faas-cli", "logs", function.name, "--tail=false", "--since=15m"]
        try:
            done = subprocess.run(  # noqa: S603 (words, no shell)
                words, env=dict(self.programs.environment), capture_output=True, text=True, timeout=20, check=False
            )
        except (OSError, subprocess.SubprocessError):
            return ""
        return f"; its log{end_of(done.stdout)}" if done.stdout.strip() else ""
