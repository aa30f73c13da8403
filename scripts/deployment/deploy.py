"""Secrets, images, functions, and a first call, in this order. A step that fails says so, and how to go back."""

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
from deployment.env_file import ENV_FILE, ROOT, read_settings_of, with_commit
from deployment.faas_cli import BUILDERS, Programs, StepFailed, end_of
from deployment.gateway import Gateway
from deployment.images import find_image, whole_name
from deployment.secret_values import VARIABLES, secret_values
from deployment.smoke import pipelines, smoke
from deployment.way_back import way_back
from local.stack import Function, read_stack

STACK = ROOT / "stack.yml"
DEFAULT_GATEWAY = "http://127.0.0.1:8080"
QUIET_S, LOOK_S = 60.0, 0.5
FIRST_CALLS_S, PULL_S = 30.0, 5.0
SLOW = ("deadline exceeded", "Client.Timeout", "status code: 502", "status code: 504")


def read_arguments(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/deploy", description=__doc__)
    parser.add_argument("functions", nargs="*", metavar="FUNCTION", help="only these (default: all of stack.yml)")
    parser.add_argument("--env", type=Path, metavar="FILE", help="settings and secrets (default infra/.env)")
    parser.add_argument("-f", "--stack", type=Path, metavar="FILE", default=STACK, help="default stack.yml")
    parser.add_argument("--no-build", action="store_true", help="the gateway pulls images that are in the registry")
    held = parser.add_mutually_exclusive_group()
    held.add_argument("--keep-secrets", action="store_true", help="the gateway has the secrets already")
    held.add_argument("--only-secrets", action="store_true", help="set the secrets and deploy nothing")
    parser.add_argument("--wait", type=float, default=180, metavar="SECONDS", help="for readiness (default 180)")
    parser.add_argument("--dry-run", action="store_true", help="print what would be run; run nothing, call nothing")
    given = parser.parse_args(argv)
    # It works in the project's own folder.
    given.stack = given.stack.resolve()
    given.env = given.env and given.env.resolve()
    return given


class Deployment:
    """One run of scripts/deploy; `steps` are done in order."""

    def __init__(self, arguments: argparse.Namespace, settings: Mapping[str, str]) -> None:
        """Raises WrongSettings for an unknown function or missing secrets."""
        self.arguments = arguments
        self.settings = with_commit(settings)
        url = self.settings.get("OPENFAAS_URL", DEFAULT_GATEWAY).rstrip("/")
        # stack.yml hands it to the functions, and /readyz tells it: a replica of before is not taken for a new one.
        self.settings["SABUESO_DEPLOYMENT"] = secrets.token_hex(8)
        self.functions = chosen(read_stack(self.settings, arguments.stack), arguments.functions)
        self.secrets: dict[str, str] = {}
        if not arguments.keep_secrets:
            self.secrets = secret_values((name for one in self.functions for name in one.secrets), self.settings)
        self.programs = Programs({**self.settings, "OPENFAAS_URL": url}, arguments.dry_run)
        self.gateway = Gateway(url, self.programs)
        self.before: dict[str, str] = {}
        self.deploying = False

    def steps(self) -> list[tuple[str, Callable[[], None]]]:
        """What is done, each with its name."""
        build = [] if self.arguments.no_build else [("build and push the images", self.build)]
        set_secrets = [] if self.arguments.keep_secrets else [("set the secrets", self.set_secrets)]
        look = ("look for the secrets", self.look_for_secrets)
        if self.arguments.only_secrets:
            return [("ask the gateway", self.ask_gateway), *set_secrets, look]
        return [
            ("ask the gateway", self.ask_gateway),
            *set_secrets,
            look,
            *build,
            ("look for the images", self.look_for_images),
            ("wait for a fetch that runs", self.wait_for_quiet),
            ("deploy", self.deploy),
            ("wait until each function is ready", self.wait_until_ready),
            ("call them", self.call),
        ]

    def ask_gateway(self) -> None:
        if self.settings.get("OPENFAAS_PASSWORD"):
            words = ("faas-cli", "login", "--username", self.settings.get("OPENFAAS_USERNAME", "admin"))
            shown = f'printf %s "$OPENFAAS_PASSWORD" | {" ".join(words)} --password-stdin'
            self.programs.run(*words, "--password-stdin", given=self.settings["OPENFAAS_PASSWORD"], shown=shown)
        try:
            found = self.gateway.images()
        except StepFailed as error:
            if "unknown flag" in str(error):
                raise StepFailed(f"{error}\n    This faas-cli is too old: 0.18.10 or later is needed") from None
            raise StepFailed(
                f"{error}\n    Does the gateway run at {self.gateway.url} (OPENFAAS_URL)? Have you logged in "
                f"(`faas-cli login --gateway {self.gateway.url}`, or OPENFAAS_PASSWORD)?"
            ) from None
        self.before = {name: image for name, image in found.items() if name in self.names()}
        for name, image in self.before.items():
            say(f"    {name} is deployed: {image}")

    def set_secrets(self) -> None:
        for name, value in self.secrets.items():
            words = ("faas-cli", "secret", "create", "--replace", name)
            variable, default = VARIABLES[name]
            source = default if value == default else f'"${variable}"'
            told = self.programs.run(*words, given=value, shown=f"printf %s {source} | {' '.join(words)}")
            # faas-cli ends with 0 also where the gateway refused it.
            if not self.programs.dry and not any(sign in told for sign in ("Created: ", "Updated: ")):
                raise StepFailed(f"the gateway did not take {name}{end_of(told)}")

    def build(self) -> None:
        builder = "docker" if self.programs.dry else self.programs.builder()
        stack = ("-f", str(self.arguments.stack), *self.filter())
        say(f"    with {BUILDERS[builder]}")
        if builder == "docker":
            self.programs.run("faas-cli", "build", *stack, aloud=True)
            self.programs.run("faas-cli", "push", *stack, aloud=True)
            return
        self.programs.run("faas-cli", "build", "--shrinkwrap", *stack)
        for one in self.functions:
            given = [f"--build-arg={key}={value}" for key, value in one.build_arguments.items()]
            self.programs.run(builder, "build", *given, "--tag", one.image, f"build/{one.name}", aloud=True)
            self.programs.run(builder, "push", one.image, aloud=True)

    def look_for_secrets(self) -> None:
        """faasd takes the running function away before it finds that a secret of the new one is missing."""
        have = {one["name"] for one in self.programs.listed("secret", "list")}
        missing = sorted({name for one in self.functions for name in one.secrets} - have)
        if missing and not self.programs.dry:
            raise StepFailed(
                f"the gateway has no secret {', '.join(missing)}: leave --keep-secrets out, and they are set"
            )

    def look_for_images(self) -> None:
        """faasd takes the running function away before it finds that the image of the new one is missing."""
        for one in self.functions:
            if self.programs.dry:
                say(f"    GET the manifest of {one.image}")
                continue
            there, told = find_image(one.image)
            say(f"    {one.image}: {told}")
            if there is False:
                raise StepFailed(f"there is no image {one.image}: {told}. Build and push it (without --no-build)")

    def wait_for_quiet(self) -> None:
        """Where a redeploy cuts the network off at once (faasd), the answer that a source is giving would be lost."""
        if self.programs.dry or "fetch-batch" not in self.before:
            return
        until = time.monotonic() + QUIET_S
        while busy := [name for name in pipelines() if self.gateway.is_busy("fetch-batch", name)]:
            if time.monotonic() > until:
                say(f"    {', '.join(busy)}: a fetch runs for a long time; it is not waited for any longer")
                break
            time.sleep(LOOK_S)
        for name in pipelines() if "train" in self.before else ():
            if self.gateway.is_busy("train", name):
                say(f"    a training of {name} runs; it is interrupted, and the next tick takes it up where it was")

    def deploy(self) -> None:
        self.deploying = True
        until = time.monotonic() + self.arguments.wait
        left = self.functions
        while True:
            try:
                words = ("faas-cli", "deploy", "--timeout=10m", "-f", str(self.arguments.stack))
                say(end_of(self.programs.run(*words, *self.filter(left))).removeprefix(":\n"))
                break
            except StepFailed as error:
                # The gateway gives up after a minute; the provider behind it goes on pulling a large image.
                if time.monotonic() > until or not any(sign in str(error) for sign in SLOW):
                    raise
                time.sleep(PULL_S)
                left = [one for one in left if self.gateway.runs(one) != whole_name(one.image)]
                if not left:
                    break
                say(f"    {', '.join(one.name for one in left)}: the image is still being pulled; once more ...")
                self.wait_for_quiet()
        # The community edition on Kubernetes answers well also where it refused an update, and the old image goes on.
        for one in () if self.programs.dry else self.functions:
            if (runs := self.gateway.runs(one)) != whole_name(one.image):
                raise StepFailed(
                    f"{one.name} runs {runs or 'not at all'}, not {one.image}: see the log of the gateway's "
                    "provider. May anybody pull it? The community edition on Kubernetes takes no other"
                )

    def wait_until_ready(self) -> None:
        until = time.monotonic() + self.arguments.wait
        for one in self.functions:
            if self.programs.dry:
                say(f"    GET {self.gateway.url}/function/{one.name}/readyz, until the new one answers")
                continue
            while (told := self.gateway.deployment_of(one)) != self.settings["SABUESO_DEPLOYMENT"]:
                if time.monotonic() > until:
                    raise StepFailed(
                        f"{one.name} is not ready after {self.arguments.wait:g} s: {told}{self.gateway.log(one)}"
                    )
                time.sleep(LOOK_S)
            say(f"    {one.name} is ready: {one.image}")

    def call(self) -> None:
        if self.programs.dry:
            say(f"    scripts/smoke --no-model {self.gateway.url}")
            return
        # A platform without a readiness gate may let the first calls fail.
        failed = smoke(self.gateway.url, self.names(), no_model=True, wait_s=FIRST_CALLS_S)
        if failed:
            raise StepFailed(f"{failed} of the calls above did not go well")

    def names(self) -> set[str]:
        return {one.name for one in self.functions}

    def filter(self, functions: list[Function] | None = None) -> list[str]:
        """faas-cli's option for these, or for those of the command line; none for all of the file."""
        names = sorted(one.name for one in functions or self.functions)
        whole = not self.arguments.functions and len(names) == len(self.functions)
        return [] if whole else ["--regex", f"^({'|'.join(names)})$"]

    def way_back(self) -> str:
        if not self.deploying:
            return "No function was touched: what ran before goes on."
        return way_back(self.functions, self.before, self.gateway.url, self.options())

    def options(self) -> str:
        """Those of this command that another one needs too."""
        given = self.arguments
        options = ["--env", str(given.env)] if given.env else []
        return shlex.join([*options, *(["-f", str(given.stack)] if given.stack != STACK else [])])


def chosen(functions: list[Function], names: list[str]) -> list[Function]:
    unknown = sorted(set(names) - {one.name for one in functions})
    if unknown:
        known = ", ".join(one.name for one in functions)
        raise WrongSettings(f"scripts/deploy: {', '.join(unknown)} is not in stack.yml, which has {known}", [])
    return [one for one in functions if not names or one.name in names]


def say(line: str) -> None:
    print(line, flush=True)


def main(argv: list[str]) -> int:
    arguments = read_arguments(argv)
    try:
        deployment = Deployment(arguments, read_settings_of(arguments.env))
    except WrongSettings as error:
        print(f"! {error.detail}\n  ({arguments.env or ENV_FILE})", file=sys.stderr)
        return 2
    os.chdir(ROOT)  # faas-cli reads paths of stack.yml from here
    steps = deployment.steps()
    say(f"{', '.join(sorted(deployment.names()))} to {deployment.gateway.url}, tag {deployment.settings['TAG']}")
    for number, (name, step) in enumerate(steps, 1):
        say(f"{number} of {len(steps)}: {name}")
        try:
            step()
        except StepFailed as error:
            print(f"! step {number} of {len(steps)} ({name}) failed: {error}", file=sys.stderr)
            print(f"  {deployment.way_back()}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            print(f"\n! stopped in step {number} of {len(steps)} ({name}). {deployment.way_back()}", file=sys.stderr)
            return 130
    if arguments.dry_run:
        say("Nothing was run.")
    elif arguments.only_secrets:
        say("The secrets are set. Functions read them when they use them; on Kubernetes that may take a minute.")
    else:
        say(f"Deployed. {deployment.way_back()}\nTo see it as strangers do: scripts/smoke https://YOUR-DOOR")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
