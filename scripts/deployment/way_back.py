"""What a person does to have again what ran before a deployment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from local.stack import Function


def way_back(functions: Sequence[Function], before: Mapping[str, str], stack: Path) -> str:
    """The commands; `before` is the image that each function ran, for those that were there."""
    if not before:
        return f"To undo: faas-cli remove -f {stack} (secrets and data stay)"
    lines = []
    for one in functions:
        image = before.get(one.name)
        if image is None:
            lines.append(f"faas-cli remove {one.name}")
        elif image == one.image:
            lines.append(f"{one.name} ran an image of the same name ({image}): set TAG, and there is a way back")
        elif (parts := image.rpartition(f"/{one.name}:"))[1]:
            lines.append(f"REGISTRY={parts[0]} TAG={parts[2]} scripts/deploy --no-build --keep-secrets {one.name}")
        else:
            lines.append(f"{one.name} ran {image}, which is not REGISTRY/{one.name}:TAG: put that name into stack.yml")
    return "To undo:\n" + "\n".join(f"    {line}" for line in lines)
