"""Where a making keeps what it is not done with; what others left there unfinished is taken away when it begins."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from train.fit.checkpoint import Checkpoint
from train.fit.decoded import clear_others
from train.fit.weights import clear_parts

if TYPE_CHECKING:
    from train.job import Job


def clear_left(job: Job, snapshot: str, settings: str) -> tuple[Path, Checkpoint]:
    """The folder of decoded pictures and the checkpoint of this making, now the only ones of the pipeline.

    To be called under its lease. Raises StoreUnavailable where the job's patience does.
    """
    making = f"{snapshot[:24]}-{settings[:8]}"
    pictures = job.pictures / making
    checkpoint = Checkpoint(job.objects, f"jobs/{job.pipeline.name}/checkpoints/{making}/", job.patience)
    clear_others(pictures)
    clear_parts(job.settings)
    job.patience(checkpoint.clear_others)
    return pictures, checkpoint
