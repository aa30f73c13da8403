"""A real fetch-batch app and a real data API as its source; the test advances the API's clock."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from flask import Flask
from flask.testing import FlaskClient

from all_settings import AllSettings as Settings
from common.storage.dataset import Dataset
from common.storage.folder import FolderStore
from conftest import Clock, Served
from fetch_batch.app import create_app
from local.data_api import create_data_api
from local.made_up_rows import made_up_rows

ROWS = made_up_rows(1000)
WINDOW_S = 300


@dataclass
class FetchDeployment:
    """`app` collects covertype from `api` into `store`."""

    settings: Settings
    app: Flask
    api: Served
    store: FolderStore
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

    def fetch_windows(self, count: int) -> list[str]:
        """Fetch once in each of the next windows; the statuses."""
        statuses = []
        for _ in range(count):
            statuses.append(self.fetch()["status"])
            self.clock.now += WINDOW_S
        return statuses


def deploy_fetch(
    make_settings: Callable[..., Any],
    serve: Callable[[Flask], Served],
    store: FolderStore,
    clock: Clock,
    api: dict[str, Any] | None = None,
    **environment: Any,
) -> FetchDeployment:
    served = serve(create_data_api(ROWS, **{"window_s": WINDOW_S, "made_up": True, "clock": clock, **(api or {})}))
    defaults = {
        "COVERTYPE_API_URL": served.url,
        "SABUESO_MIN_INTERVAL_S": "0.000001",
        "SABUESO_SAMPLES_PER_BATCH": 2,
        "SABUESO_SOURCE_TIMEOUT_S": 5,
    }
    settings = make_settings("covertype", **{**defaults, **environment})
    return FetchDeployment(settings, create_app(settings, store), served, store, clock)
