"""Opens the object store that the settings name."""

from __future__ import annotations

import contextlib
from pathlib import Path
from urllib.parse import urlsplit

from common.errors import StoreUnavailable
from common.settings import StoreSettings
from common.storage.folder import FolderStore
from common.storage.object_store import ObjectStore


def open_store(settings: StoreSettings, url: str | None = None) -> ObjectStore:
    """The store of the settings, or the one at `url`. A store that is down is noticed when it is used.

    Raises WrongSettings if no store is set, or if it does not honour conditional writes.
    """
    parts = urlsplit(url or settings.require_store())
    if parts.scheme == "file":
        return FolderStore(Path(parts.path))
    # boto3 takes half a second to import; a folder store does not need it.
    from common.storage.s3 import S3Store

    store = S3Store(parts.netloc, parts.path.strip("/"), settings)
    if url is None:
        with contextlib.suppress(StoreUnavailable):
            store.prove_conditions()
    return store
