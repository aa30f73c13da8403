"""Runs pip-audit on lists of locked packages and sorts what it says: vulnerable, not checked, out of reach."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

VULNERABLE, OUT_OF_REACH = 1, 75
COMMAND = ("--no-deps", "--disable-pip", "--format", "json", "--progress-spinner", "off")
NO_ANSWER = ("ConnectionError", "Timeout", "ServiceError", "HTTPError", "ProxyError")


def main(files: list[str]) -> int:
    program = Path(sys.executable).with_name("pip-audit")
    lists = [word for file in files for word in ("--requirement", file)]
    done = subprocess.run([program, *COMMAND, *lists], capture_output=True, text=True, check=False)  # noqa: S603 (words, no shell)
    try:
        packages = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        reason = done.stderr.strip().rpartition("\n")[2]
        print(f"! pip-audit ended with code {done.returncode}: {reason}", file=sys.stderr)
        return OUT_OF_REACH if any(word in reason for word in NO_ANSWER) else VULNERABLE
    code, lines = judge(packages)
    print("\n".join(lines))
    return code


def judge(packages: list[dict[str, Any]]) -> tuple[int, list[str]]:
    """The exit code and what to print, given pip-audit's packages. Pure."""
    found = {
        f"{package['name']} {package['version']}: {one['id']}{_fix(one)}"
        for package in packages
        for one in package.get("vulns", [])
    }
    unchecked = {f"{package['name']}: {package['skip_reason']}" for package in packages if "skip_reason" in package}
    if not packages or len(unchecked) == len({package["name"] for package in packages}):
        return OUT_OF_REACH, ["! PyPI's vulnerabilities can't be reached: it knows none of the packages"]
    count = len({package["name"] for package in packages})
    lines = [*sorted(found), *(f"not checked: {one}" for one in sorted(unchecked))]
    return (VULNERABLE if lines else 0), [*lines, f"{count} packages, {len(found)} known vulnerabilities"]


def _fix(vulnerability: dict[str, Any]) -> str:
    versions = vulnerability.get("fix_versions") or []
    return f", fixed in {', '.join(versions)}: uv lock --upgrade-package, then scripts/lock" if versions else ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
