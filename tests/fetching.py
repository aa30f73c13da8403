"""A fetch-batch app and the data API of its source, both real, with time in the test's hand."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from flask import Flask
from flask.testing import FlaskClient

from common.datasets import Dataset
from common.objects import FolderObjects
from common.settings import Settings
from conftest import Clock, Served
from fetch_batch.app import create_app
from local.data_api import create_data_api
from local.made_up_rows import made_up_rows

ROWS = made_up_rows(1000)
WINDOW_S = 300


@dataclass
class Fetching:
    """One deployment: `app` collects from `api` into `store`."""

    settings: Settings
    app: Flask
    api: Served
    store: FolderObjects
    clock: Clock

    @property
    def client(self) -> FlaskClient:
        return self.app.test_client()

    def fetch(self) -> dict[str, Any]:
        answer = self.client.post("/covertype")
        assert answer.status_code == 200, answer.text
        return answer.json["results"][0]

    def status(self) -> dict[str, Any]:
        return self.client.get("/covertype").json

    def dataset(self) -> Dataset:
        return Dataset(self.store, "covertype")

    def windows(self, count: int) -> list[str]:
        """Fetch once in each window; the statuses."""
        found = []
        for _ in range(count):
            found.append(self.fetch()["status"])
            self.clock.now += WINDOW_S
        return found


def fetching(
    make_settings: Callable[..., Any],
    serve: Callable[[Flask], Served],
    store: FolderObjects,
    clock: Clock,
    api: dict[str, Any] | None = None,
    **environment: Any,
) -> Fetching:
    served = serve(create_data_api(ROWS, **{"window_s": WINDOW_S, "made_up": True, "clock": clock, **(api or {})}))
    fixed = {
        "COVERTYPE_API_URL": served.url,
        "SABUESO_MIN_INTERVAL_S": "0.000001",
        "SABUESO_SAMPLES_PER_BATCH": 2,
        "SABUESO_SOURCE_TIMEOUT_S": 5,
    }
    settings = make_settings("covertype", **{**fixed, **environment})
    return Fetching(settings, create_app(settings, store), served, store, clock)
