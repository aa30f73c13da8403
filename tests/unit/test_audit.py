"""What scripts/audit makes of pip-audit's answer."""

from __future__ import annotations

from typing import Any

import pytest

from audits.audit import OUT_OF_REACH, VULNERABLE, judge

GOOD: dict[str, Any] = {"name": "flask", "version": "3.1.3", "vulns": []}
BAD: dict[str, Any] = {
    "name": "jinja2",
    "version": "3.1.5",
    "vulns": [{"id": "CVE-2025-27516", "fix_versions": ["3.1.6"]}],
}
UNKNOWN: dict[str, Any] = {"name": "numpy", "skip_reason": "Dependency not found on PyPI"}


@pytest.mark.parametrize(
    ("packages", "code", "line"),
    [
        ([GOOD], 0, "1 packages, 0 known vulnerabilities"),
        ([GOOD, BAD, BAD], VULNERABLE, "2 packages, 1 known vulnerabilities"),
        (
            [GOOD, BAD],
            VULNERABLE,
            "jinja2 3.1.5: CVE-2025-27516, fixed in 3.1.6: uv lock --upgrade-package, then scripts/lock",
        ),
        ([GOOD, UNKNOWN], VULNERABLE, "not checked: numpy: Dependency not found on PyPI"),
        ([UNKNOWN, UNKNOWN], OUT_OF_REACH, "! PyPI's vulnerabilities can't be reached: it knows none of the packages"),
        ([], OUT_OF_REACH, "! PyPI's vulnerabilities can't be reached: it knows none of the packages"),
    ],
)
def test_an_audit_passes_only_if_every_package_was_checked(packages: list[Any], code: int, line: str) -> None:
    judged, lines = judge(packages)
    assert judged == code
    assert line in lines
