"""Sets the secrets, builds the images, deploys the functions and calls them. A failed step explains the rollback."""

from __future__ import annotations

import argparse
import os
import secrets
import shlex
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from common.errors import WrongSettings
from deployment.env_file import ENV_FILE, ROOT, read_deployment_variables, with_commit
from deployment.faas_cli import BUILDERS, Programs, StepFailed, end_of
from deployment.gateway import Gateway
from deployment.images import find_image, full_name
from deployment.rollback import rollback_commands
from deployment.secret_values import VARIABLES, secret_values
from deployment.smoke import pipelines, smoke
from local.stack import Function, read_stack

STACK = ROOT / "stack.yml"
DEFAULT_GATEWAY = "http://127.0.0.1:8080"
IDLE_S, POLL_S = 60.0, 0.5
FIRST_CALLS_S, PULL_S = 30.0, 5.0
TIMEOUTS = ("deadline exceeded", "Client.Timeout", "status code: 502", "status code: 504")


def read_arguments(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/deploy", description=__doc__)
    parser.add_argument("functions", nargs="*", metavar="FUNCTION", help="only these (default: all of stack.yml)")
    parser.add_argument("--env", type=Path, metavar="FILE", help="settings and secrets (default infra/.env)")
    parser.add_argument("-f", "--stack", type=Path, metavar="FILE", default=STACK, help="default stack.yml")
    parser.add_argument("--no-build", action="store_true", help="use images that are already in the registry")
    secret_options = parser.add_mutually_exclusive_group()
    secret_options.add_argument(
        "--keep-secrets", action="store_true", help="use the secrets that the gateway already has"
    )
    secret_options.add_argument("--only-secrets", action="store_true", help="set the secrets and deploy nothing")
    parser.add_argument(
        "--wait", type=float, default=180, metavar="SECONDS", help="time limit for readiness (default 180)"
    )
    parser.add_argument("--dry-run", action="store_true", help="print the commands without running them")
    given = parser.parse_args(argv)
    # The deployment changes to the project's folder.
    given.stack = given.stack.resolve()
    given.env = given.env and given.env.resolve()
    return given


class Deployment:
    """One run of scripts/deploy."""

    def __init__(self, arguments: argparse.Namespace, settings: Mapping[str, str]) -> None:
        """Raises WrongSettings for an unknown function or missing secrets."""
        self.arguments = arguments
        self.settings = with_commit(settings)
        url = self.settings.get("OPENFAAS_URL", DEFAULT_GATEWAY).rstrip("/")
        # stack.yml passes it to the functions and /readyz returns it, which tells new replicas from old ones.
        self.settings["SABUESO_DEPLOYMENT"] = secrets.token_hex(8)
        self.functions = select(read_stack(self.settings, arguments.stack), arguments.functions)
        self.secrets: dict[str, str] = {}
        if not arguments.keep_secrets:
            self.secrets = secret_values(
                (name for function in self.functions for name in function.secrets), self.settings
            )
        self.programs = Programs({**self.settings, "OPENFAAS_URL": url}, arguments.dry_run)
        self.gateway = Gateway(url, self.programs)
        self.before: dict[str, str] = {}
        self.deploying = False

    def steps(self) -> list[tuple[str, Callable[[], None]]]:
        """The steps in order, each with its name."""
        build = [] if self.arguments.no_build else [("build and push the images", self.build)]
        set_secrets = [] if self.arguments.keep_secrets else [("set the secrets", self.set_secrets)]
        check_secrets = ("check the secrets", self.check_secrets)
        if self.arguments.only_secrets:
            return [("contact the gateway", self.contact_gateway), *set_secrets, check_secrets]
        return [
            ("contact the gateway", self.contact_gateway),
            *set_secrets,
            check_secrets,
            *build,
            ("check the images", self.check_images),
            ("wait for running fetches", self.wait_until_idle),
            ("deploy", self.deploy),
            ("wait until the functions are ready", self.wait_until_ready),
            ("call the functions", self.call),
        ]

    def contact_gateway(self) -> None:
        if self.settings.get("OPENFAAS_PASSWORD"):
            words = ("faas-cli", "login", "--username", self.settings.get("OPENFAAS_USERNAME", "admin"))
            shown = f'printf %s "$OPENFAAS_PASSWORD" | {" ".join(words)} --password-stdin'
            self.programs.run(*words, "--password-stdin", stdin=self.settings["OPENFAAS_PASSWORD"], shown=shown)
        try:
            deployed = self.gateway.images()
        except StepFailed as error:
            if "unknown flag" in str(error):
                raise StepFailed(f"{error}\n    This faas-cli is too old: 0.18.10 or later is needed") from None
            raise StepFailed(
                f"{error}\n    Is the gateway running at {self.gateway.shown} (OPENFAAS_URL)? Are you logged in "
                f"(`faas-cli login --gateway {self.gateway.shown}`, or OPENFAAS_PASSWORD)?"
            ) from None
        self.before = {name: image for name, image in deployed.items() if name in self.names()}
        for name, image in self.before.items():
            log(f"    {name} runs {image}")

    def set_secrets(self) -> None:
        for name, value in self.secrets.items():
            words = ("faas-cli", "secret", "create", "--replace", name)
            variable, default = VARIABLES[name]
            source = default if value == default else f'"${variable}"'
            output = self.programs.run(*words, stdin=value, shown=f"printf %s {source} | {' '.join(words)}")
            # faas-cli exits with 0 even if the gateway refused the secret.
            if not self.programs.dry and not any(text in output for text in ("Created: ", "Updated: ")):
                raise StepFailed(f"the gateway refused the secret {name}{end_of(output)}")

    def build(self) -> None:
        builder = "docker" if self.programs.dry else self.programs.builder()
        stack = ("-f", str(self.arguments.stack), *self.filter())
        log(f"    with {BUILDERS[builder]}")
        if builder == "docker":
            self.programs.run("faas-cli", "build", *stack, live=True)
            self.programs.run("faas-cli", "push", *stack, live=True)
            return
        self.programs.run("faas-cli", "build", "--shrinkwrap", *stack)
        for function in self.functions:
            options = [f"--build-arg={key}={value}" for key, value in function.build_arguments.items()]
            self.programs.run(builder, "build", *options, "--tag", function.image, f"build/{function.name}", live=True)
            self.programs.run(builder, "push", function.image, live=True)

    def check_secrets(self) -> None:
        """Needed before the deployment: faasd stops the running function before it notices a missing secret."""
        existing = {secret["name"] for secret in self.programs.list_json("secret", "list")}
        missing = sorted({name for function in self.functions for name in function.secrets} - existing)
        if missing and not self.programs.dry:
            raise StepFailed(f"the gateway lacks the secret {', '.join(missing)}: run again without --keep-secrets")

    def check_images(self) -> None:
        """Needed before the deployment: faasd stops the running function before it notices a missing image."""
        for function in self.functions:
            if self.programs.dry:
                log(f"    GET the manifest of {function.image}")
                continue
            exists, reason = find_image(function.image)
            log(f"    {function.image}: {reason}")
            if exists is False:
                raise StepFailed(
                    f"the image {function.image} does not exist: {reason}. Build and push it (without --no-build)"
                )

    def wait_until_idle(self) -> None:
        """A redeployment on faasd cuts the network at once, which would lose the answer of a source."""
        if self.programs.dry or "fetch-batch" not in self.before:
            return
        until = time.monotonic() + IDLE_S
        while busy := [name for name in pipelines() if self.gateway.is_busy("fetch-batch", name)]:
            if time.monotonic() > until:
                log(f"    {', '.join(busy)}: a fetch is still running; not waiting any longer")
                break
            time.sleep(POLL_S)
        for name in pipelines() if "train" in self.before else ():
            if self.gateway.is_busy("train", name):
                log(f"    a training of {name} is running; the deployment interrupts it, and the next fetch resumes it")

    def deploy(self) -> None:
        self.deploying = True
        until = time.monotonic() + self.arguments.wait
        remaining = self.functions
        while True:
            try:
                words = ("faas-cli", "deploy", "--timeout=10m", "-f", str(self.arguments.stack))
                log(end_of(self.programs.run(*words, *self.filter(remaining))).removeprefix(":\n"))
                break
            except StepFailed as error:
                # The gateway times out after a minute, but its provider continues to pull a large image.
                if time.monotonic() > until or not any(text in str(error) for text in TIMEOUTS):
                    raise
                time.sleep(PULL_S)
                remaining = [
                    function for function in remaining if self.gateway.image_of(function) != full_name(function.image)
                ]
                if not remaining:
                    break
                names = ", ".join(function.name for function in remaining)
                log(f"    {names}: still pulling the image; trying again ...")
                self.wait_until_idle()
        # The community edition on Kubernetes reports success even if it refused the update and keeps the old image.
        for function in () if self.programs.dry else self.functions:
            if (image := self.gateway.image_of(function)) != full_name(function.image):
                raise StepFailed(
                    f"{function.name} runs {image or 'no image'}, not {function.image}: see the log of the gateway's "
                    "provider. Is the image public? The community edition on Kubernetes accepts only public images"
                )

    def wait_until_ready(self) -> None:
        until = time.monotonic() + self.arguments.wait
        for function in self.functions:
            if self.programs.dry:
                log(f"    GET {self.gateway.shown}/function/{function.name}/readyz, until the new replica answers")
                continue
            while (state := self.gateway.deployment_of(function)) != self.settings["SABUESO_DEPLOYMENT"]:
                if time.monotonic() > until:
                    waited = f"{self.arguments.wait:g} s"
                    raise StepFailed(
                        f"{function.name} is not ready after {waited}: {state}{self.gateway.log(function)}"
                    )
                time.sleep(POLL_S)
            log(f"    {function.name} is ready: {function.image}")

    def call(self) -> None:
        if self.programs.dry:
            log(f"    scripts/smoke --no-model {self.gateway.shown}")
            return
        # On a platform without readiness checks the first calls may fail.
        failed = smoke(self.gateway.url, self.names(), no_model=True, wait_s=FIRST_CALLS_S)
        if failed:
            raise StepFailed(f"{failed} of the calls above failed")

    def names(self) -> set[str]:
        return {function.name for function in self.functions}

    def filter(self, functions: list[Function] | None = None) -> list[str]:
        """faas-cli's option for these functions (default: those of the command line); none for all of the file."""
        names = sorted(function.name for function in functions or self.functions)
        is_all = not self.arguments.functions and len(names) == len(self.functions)
        return [] if is_all else ["--regex", f"^({'|'.join(names)})$"]

    def rollback(self) -> str:
        if not self.deploying:
            return "No function was changed; the previous ones keep running."
        return rollback_commands(self.functions, self.before, self.gateway.shown, self.options())

    def options(self) -> str:
        """The options of this command that a rollback needs too."""
        given = self.arguments
        options = ["--env", str(given.env)] if given.env else []
        return shlex.join([*options, *(["-f", str(given.stack)] if given.stack != STACK else [])])


def select(functions: list[Function], names: list[str]) -> list[Function]:
    unknown = sorted(set(names) - {function.name for function in functions})
    if unknown:
        known = ", ".join(function.name for function in functions)
        raise WrongSettings(f"scripts/deploy: {', '.join(unknown)} is not in stack.yml; it defines {known}", [])
    return [function for function in functions if not names or function.name in names]


def log(line: str) -> None:
    print(line, flush=True)


def main(argv: list[str]) -> int:
    arguments = read_arguments(argv)
    try:
        deployment = Deployment(arguments, read_deployment_variables(arguments.env))
    except WrongSettings as error:
        print(f"! {error.detail}\n  ({arguments.env or ENV_FILE})", file=sys.stderr)
        return 2
    os.chdir(ROOT)  # faas-cli resolves the paths of stack.yml from here
    steps = deployment.steps()
    log(f"{', '.join(sorted(deployment.names()))} to {deployment.gateway.shown}, tag {deployment.settings['TAG']}")
    for number, (name, step) in enumerate(steps, 1):
        log(f"{number} of {len(steps)}: {name}")
        try:
            step()
        except StepFailed as error:
            print(f"! step {number} of {len(steps)} ({name}) failed: {error}", file=sys.stderr)
            print(f"  {deployment.rollback()}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            print(f"\n! stopped in step {number} of {len(steps)} ({name}). {deployment.rollback()}", file=sys.stderr)
            return 130
    if arguments.dry_run:
        log("Dry run: nothing was changed.")
    elif arguments.only_secrets:
        log("The secrets are set. Functions read a secret when they use it; Kubernetes may take a minute to update it.")
    else:
        log(f"Deployed. {deployment.rollback()}\nTo test it from outside: scripts/smoke https://YOUR-HOST")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
