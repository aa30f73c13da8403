"""The settings of all three functions in one value, for tests that run several functions."""

from __future__ import annotations

from collections.abc import Mapping

from classify.settings import ClassifySettings
from fetch_batch.settings import FetchSettings
from train.settings import TrainSettings


class AllSettings(FetchSettings, TrainSettings, ClassifySettings):
    """Each function reads only its own fields."""


def read_settings(environment: Mapping[str, str]) -> AllSettings:
    return AllSettings.read(environment)
