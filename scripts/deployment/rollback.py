"""The commands that roll a deployment back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from deployment.images import full_name
from local.stack import Function


def rollback_commands(functions: Sequence[Function], before: Mapping[str, str], gateway: str, options: str) -> str:
    """`before`: the previous image of each function; `options`: of scripts/deploy.

    The commands restore the images. The settings come from infra/.env and the environment at that time.
    """
    again = f"scripts/deploy --no-build --keep-secrets{f' {options}' if options else ''}"
    lines = []
    for function in functions:
        image = before.get(function.name)
        if image is None:
            lines.append(f"faas-cli remove --gateway {gateway} {function.name}")
        elif full_name(image) == full_name(function.image):
            lines.append(
                f"{function.name} ran an image of the same name ({image}), so there is no rollback; set TAG next time"
            )
        elif (parts := image.rpartition(f"/{function.name}:"))[1]:
            lines.append(f"REGISTRY={parts[0]} TAG={parts[2]} {again} {function.name}")
        else:
            lines.append(f"{function.name} ran {image}, which is not REGISTRY/{function.name}:TAG: set it in stack.yml")
    return "To roll back (secrets and data are not changed):\n" + "\n".join(f"    {line}" for line in lines)
