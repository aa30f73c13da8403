"""What a person does to have again what ran before a deployment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from deployment.images import whole_name
from local.stack import Function


def way_back(functions: Sequence[Function], before: Mapping[str, str], gateway: str, options: str) -> str:
    """The commands; `before` is the image that each function ran, `options` those of scripts/deploy that stay.

    They bring back the images. The settings are those of then if infra/.env, or the environment, is.
    """
    again = f"scripts/deploy --no-build --keep-secrets{f' {options}' if options else ''}"
    lines = []
    for one in functions:
        image = before.get(one.name)
        if image is None:
            lines.append(f"faas-cli remove --gateway {gateway} {one.name}")
        elif whole_name(image) == whole_name(one.image):
            lines.append(f"{one.name} ran an image of the same name ({image}): set TAG, and there is a way back")
        elif (parts := image.rpartition(f"/{one.name}:"))[1]:
            lines.append(f"REGISTRY={parts[0]} TAG={parts[2]} {again} {one.name}")
        else:
            lines.append(f"{one.name} ran {image}, which is not REGISTRY/{one.name}:TAG: put that name into stack.yml")
    return "To undo (secrets and data stay as they are):\n" + "\n".join(f"    {line}" for line in lines)
