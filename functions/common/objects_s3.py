"""The object store on S3 (MinIO or another): conditional writes, bounded retries, read-back after doubt."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from common.errors import Conflict, StoreUnavailable
from common.objects import Object, check_key
from common.settings import Settings

ATTEMPTS = 4
_MISSING = ("NoSuchKey", "404", "NotFound")
_CONDITION = ("PreconditionFailed", "ConditionalRequestConflict", "412", "409")


class S3Objects:
    """One bucket and prefix. boto3's own retries are off: a repeated conditional PUT would meet itself."""

    def __init__(self, bucket: str, prefix: str, settings: Settings) -> None:
        self.bucket = bucket
        self.prefix = f"{prefix}/" if prefix else ""
        self.where = f"s3://{bucket}/{prefix}"
        self._settings = settings
        self._keys: tuple[str, str] | None = None
        self._client: Any = None
        self._lock = threading.Lock()
        self._connected()

    def _connected(self) -> Any:
        """The client, with the keys that the secret files hold now: an update counts at once. Raises WrongSettings."""
        keys = (self._settings.own_secret("s3-access-key"), self._settings.own_secret("s3-secret-key"))
        with self._lock:
            if keys != self._keys:
                self.close()
                self._client, self._keys = _make_client(self._settings, *keys), keys
            return self._client

    def get(self, key: str) -> Object | None:
        def read() -> Object | None:
            answer = self._connected().get_object(Bucket=self.bucket, Key=self.prefix + check_key(key))
            now = parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"].get("date", _http_now()))
            return Object(
                answer["Body"].read(), answer["ETag"], max(0.0, (now - answer["LastModified"]).total_seconds())
            )

        found: Object | None = self._try(read, missing=None)
        return found

    def put(self, key: str, body: bytes, *, if_absent: bool = False, if_match: str | None = None) -> str:
        condition: dict[str, str] = {"IfNoneMatch": "*"} if if_absent else {}
        if if_match is not None:
            condition = {"IfMatch": if_match}

        def write() -> str:
            answer = self._connected().put_object(
                Bucket=self.bucket, Key=self.prefix + check_key(key), Body=body, **condition
            )
            return str(answer["ETag"])

        if not condition:
            return str(self._try(write))
        return self._write_once(key, body, write)

    def list(self, prefix: str) -> Iterator[str]:
        token: dict[str, str] = {}
        while True:
            page = self._try(lambda token=token: self._page(prefix, token))
            for entry in page.get("Contents", []):
                yield str(entry["Key"])[len(self.prefix) :]
            if not page.get("IsTruncated"):
                return
            token = {"ContinuationToken": page["NextContinuationToken"]}

    def delete(self, key: str) -> None:
        self._try(lambda: self._connected().delete_object(Bucket=self.bucket, Key=self.prefix + check_key(key)))

    def close(self) -> None:
        """Give the connections back."""
        if self._client is not None:
            self._client.close()

    def _page(self, prefix: str, token: dict[str, str]) -> Any:
        return self._connected().list_objects_v2(Bucket=self.bucket, Prefix=self.prefix + prefix, **token)

    def _write_once(self, key: str, body: bytes, write: Any) -> str:
        """A conditional write: after 412 or a lost answer, what is stored tells whether it was ours."""
        for attempt in range(ATTEMPTS):
            try:
                return str(write())
            except (ClientError, BotoCoreError) as error:
                code = _code(error)
                doubtful = attempt > 0 or code not in _CONDITION
                stored = self.get(key) if doubtful else None
                if stored is not None and stored.body == body:
                    return stored.etag
                if code in (*_CONDITION, *_MISSING):
                    raise Conflict(f"{key} was written by another") from None
                if not _passing(error) or attempt == ATTEMPTS - 1:
                    raise StoreUnavailable(self.where, _why(error)) from error
                _wait(attempt)
        raise AssertionError("unreachable")

    def _try(self, call: Any, missing: Any = ...) -> Any:
        for attempt in range(ATTEMPTS):
            try:
                return call()
            except (ClientError, BotoCoreError, OSError) as error:
                if missing is not ... and _code(error) in _MISSING:
                    return missing
                if not _passing(error) or attempt == ATTEMPTS - 1:
                    raise StoreUnavailable(self.where, _why(error)) from error
                _wait(attempt)
        raise AssertionError("unreachable")


def _make_client(settings: Settings, access_key: str, secret_key: str) -> Any:
    return boto3.client(
        "s3",
        endpoint_url=settings.s3_endpoint,
        region_name=settings.s3_region,
        aws_access_key_id=access_key,
        aws_secret_access_key=secret_key,
        config=Config(retries={"total_max_attempts": 1}, connect_timeout=5, read_timeout=30, max_pool_connections=16),
    )


def _http_now() -> str:
    return datetime.now(UTC).strftime("%a, %d %b %Y %H:%M:%S GMT")


def _code(error: Exception) -> str:
    return str(error.response.get("Error", {}).get("Code", "")) if isinstance(error, ClientError) else ""


def _passing(error: Exception) -> bool:
    """True where a retry makes sense: no answer, or the server's own trouble."""
    if not isinstance(error, ClientError):
        return True
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 500)
    return bool(status >= 500 or status == 429)


def _why(error: Exception) -> str:
    if isinstance(error, ClientError):
        return f"{error.operation_name} answered {_code(error)}"
    return type(error).__name__


def _wait(attempt: int) -> None:
    """Doubling pauses with full jitter, from 0.1 s (Brooker, "Exponential backoff and jitter", AWS 2015)."""
    time.sleep(random.uniform(0, 0.1 * 2**attempt))
