"""The object store on S3 (MinIO or another): conditional writes, bounded retries, reading back after a lost answer."""

from __future__ import annotations

import contextlib
import random
import secrets
import threading
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, BinaryIO

import boto3
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    ReadTimeoutError,
)

from common.errors import Conflict, FieldError, StoreUnavailable, WrongSettings
from common.redaction import shown_url
from common.settings import StoreSettings
from common.storage.keys import PROBE
from common.storage.object_store import StoredObject, check_key

# About 5 s of retries while a server answers with errors: a restart of MinIO goes unnoticed.
ATTEMPTS, FIRST_PAUSE_S, RETRY_S = 6, 0.2, 6.0
# A server that accepts the connection but does not answer is tried once; further requests in the next seconds fail at
# once. A call of a function makes many requests, and its gateway ends it after 30 s.
SILENT_S = 5.0
_SILENT = (ReadTimeoutError, ConnectTimeoutError)
PART = 16 << 20
_MISSING = ("NoSuchKey", "404", "NotFound")
# What MinIO, versitygw (from the file system) and others answer when they are full.
_FULL = ("XMinioStorageFull", "InsufficientStorage", "QuotaExceeded", "XMinioAdminBucketQuotaExceeded", "507")
_UNKNOWN = ("NotImplemented", "501")
_CONDITION = ("PreconditionFailed", "ConditionalRequestConflict", "412", "409")

UNCONDITIONAL = (
    "this server ignores the conditions of a PUT (If-None-Match, If-Match), so that leases and samples would be "
    "overwritten. Use a server that honours them: MinIO, versitygw, AWS S3 (docs/object-store.md)"
)


class S3Store:
    """One bucket and prefix. boto3's own retries are off: a repeated conditional PUT would conflict with itself.

    `read_s`: seconds to wait for the next byte of an answer.
    """

    read_s = 5.0

    def __init__(self, bucket: str, prefix: str, settings: StoreSettings) -> None:
        self.bucket = bucket
        self.prefix = f"{prefix}/" if prefix else ""
        self.where = shown_url(f"s3://{bucket}/{prefix}")
        self._settings = settings
        self._keys: tuple[str, str] | None = None
        self._client: Any = None
        self._lock = threading.Lock()
        self._proved = False
        self._silent, self._fell_silent = ("", ""), float("-inf")
        self._connected()

    def _connected(self) -> Any:
        """The client with the keys that the secret files hold now. Raises WrongSettings."""
        try:
            keys = (self._settings.own_secret("s3-access-key"), self._settings.own_secret("s3-secret-key"))
        except WrongSettings:
            # A platform may delete a secret file before it writes the new one; a lease must survive that.
            if self._client is None or self._keys is None:
                raise
            keys = self._keys
        with self._lock:
            if keys != self._keys:
                self.close()
                self._client, self._keys = _make_client(self._settings, *keys, self.read_s), keys
            return self._client

    def get(self, key: str) -> StoredObject | None:
        def read() -> StoredObject | None:
            answer = self._connected().get_object(Bucket=self.bucket, Key=self.prefix + check_key(key))
            now = parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"].get("date", _http_now()))
            return StoredObject(
                answer["Body"].read(), answer["ETag"], max(0.0, (now - answer["LastModified"]).total_seconds())
            )

        stored: StoredObject | None = self._try(read, missing=None)
        return stored

    def put(self, key: str, body: bytes, *, if_absent: bool = False, if_match: str | None = None) -> str:
        condition: dict[str, str] = {"IfNoneMatch": "*"} if if_absent else {}
        if if_match is not None:
            condition = {"IfMatch": if_match}

        if condition:
            self.prove_conditions()
            return self._write_once(key, body, condition)
        return str(self._try(lambda: self._put(key, body, {})))

    def _put(self, key: str, body: bytes, condition: dict[str, str]) -> str:
        name = {"Bucket": self.bucket, "Key": self.prefix + check_key(key)}
        return str(self._connected().put_object(**name, Body=body, **condition)["ETag"])

    def prove_conditions(self) -> None:
        """Check once that the server refuses a write whose condition does not hold.

        Leases and the promise that a sample is stored once depend on it, and some S3 servers accept every PUT. The
        probe object is never deleted, so that no key needs that permission. Raises WrongSettings, StoreUnavailable.
        """
        if self._proved:
            return
        conditions = ({"IfNoneMatch": "*"}, {"IfNoneMatch": "*"}, {"IfMatch": f'"{"0" * 32}"'})
        for number, condition in enumerate(conditions):
            try:
                self._write_once(PROBE, secrets.token_hex(16).encode(), condition)
            except Conflict:
                continue
            if number:  # the very first one creates the object
                raise WrongSettings(f"The object store {self.where}", [FieldError("SABUESO_STORE", UNCONDITIONAL)])
        self._proved = True

    def read_into(self, key: str, file: BinaryIO) -> bool:
        start = file.tell()

        def read() -> bool:
            file.seek(start)
            file.truncate()
            answer = self._connected().get_object(Bucket=self.bucket, Key=self.prefix + check_key(key))
            for part in answer["Body"].iter_chunks(1 << 20):
                file.write(part)
            return True

        return bool(self._try(read, missing=False))

    def write_from(self, key: str, file: BinaryIO) -> str:
        part = file.read(PART)
        if len(part) < PART:
            return self.put(key, part)
        name = {"Bucket": self.bucket, "Key": self.prefix + check_key(key)}
        nonce = secrets.token_hex(16)
        # An upload stays behind if this answer is lost or if it can't be aborted; no listing shows it. MinIO removes it
        # after a day, other servers by a lifecycle rule of the bucket (AbortIncompleteMultipartUpload).
        begun = self._try(lambda: self._connected().create_multipart_upload(**name, Metadata={"nonce": nonce}))
        upload = {**name, "UploadId": begun["UploadId"]}
        etags: list[dict[str, str | int]] = []
        try:
            while part:
                facts = {**upload, "PartNumber": len(etags) + 1, "Body": part}
                answer = self._try(lambda facts=facts: self._connected().upload_part(**facts))
                etags.append({"PartNumber": facts["PartNumber"], "ETag": answer["ETag"]})
                part = file.read(PART)
            whole = {**upload, "MultipartUpload": {"Parts": etags}}
            return str(self._try(lambda: self._complete(whole, nonce))["ETag"])
        except BaseException:
            with contextlib.suppress(StoreUnavailable):
                self._try(lambda: self._connected().abort_multipart_upload(**upload))
            raise

    def _complete(self, whole: Mapping[str, Any], nonce: str) -> Any:
        """Assemble the object, once. After a lost answer the nonce on the stored object shows whether it succeeded."""
        try:
            return self._connected().complete_multipart_upload(**whole)
        except (ClientError, BotoCoreError):
            with contextlib.suppress(ClientError, BotoCoreError):
                found = self._connected().head_object(Bucket=whole["Bucket"], Key=whole["Key"])
                if found["Metadata"].get("nonce") == nonce:
                    return found
            raise

    def list(self, prefix: str) -> Iterator[str]:
        token: dict[str, str] = {}
        while True:
            page = self._try(lambda token=token: self._page(prefix, token))
            for entry in page.get("Contents", []):
                key = str(entry["Key"])[len(self.prefix) :]
                if key != PROBE:
                    yield key
            if not page.get("IsTruncated"):
                return
            token = {"ContinuationToken": page["NextContinuationToken"]}

    def delete(self, key: str) -> None:
        self._try(lambda: self._connected().delete_object(Bucket=self.bucket, Key=self.prefix + check_key(key)))

    def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            self._client.close()

    def _page(self, prefix: str, token: dict[str, str]) -> Any:
        return self._connected().list_objects_v2(Bucket=self.bucket, Prefix=self.prefix + prefix, **token)

    def _write_once(self, key: str, body: bytes, condition: dict[str, str]) -> str:
        """A conditional write. After 412 or a lost answer the stored body shows whether it was ours."""
        for attempt, until in self._attempts():
            try:
                return self._put(key, body, condition)
            except (ClientError, BotoCoreError) as error:
                code = _code(error)
                doubtful = attempt > 0 or code not in _CONDITION
                stored = self.get(key) if doubtful and _is_temporary(error, code) else None
                if stored is not None and stored.body == body:
                    return stored.etag
                if code in (*_CONDITION, *_MISSING):
                    raise Conflict(f"{key} was changed by another writer") from None
                if code in _UNKNOWN:
                    raise WrongSettings(
                        f"The object store {self.where}", [FieldError("SABUESO_STORE", UNCONDITIONAL)]
                    ) from None
                self._retry_or_raise(error, attempt, until)
        raise AssertionError("unreachable")

    def _try(self, call: Any, missing: Any = ...) -> Any:
        for attempt, until in self._attempts():
            try:
                return call()
            except (ClientError, BotoCoreError) as error:
                if missing is not ... and _code(error) in _MISSING:
                    return missing
                self._retry_or_raise(error, attempt, until)
        raise AssertionError("unreachable")

    def _attempts(self) -> Iterator[tuple[int, float]]:
        """Attempt numbers and the deadline, with doubling pauses and full jitter in between.

        (Brooker, "Exponential backoff and jitter", AWS 2015). Raises StoreUnavailable soon after a request without an
        answer.
        """
        if time.monotonic() - self._fell_silent < SILENT_S:
            raise StoreUnavailable(self.where, *self._silent)
        until = time.monotonic() + RETRY_S
        for attempt in range(ATTEMPTS):
            yield attempt, until
            time.sleep(random.uniform(0, FIRST_PAUSE_S * 2**attempt))  # noqa: S311 (jitter)

    def _retry_or_raise(self, error: ClientError | BotoCoreError, attempt: int, until: float) -> None:
        """Return if a retry makes sense. Raises StoreUnavailable if not."""
        silent = isinstance(error, _SILENT)
        last = silent or attempt == ATTEMPTS - 1 or time.monotonic() > until
        if not last and _is_temporary(error, _code(error)):
            return
        reason = _reason_and_advice(error, self._settings)
        if silent:
            self._silent, self._fell_silent = reason, time.monotonic()
        raise StoreUnavailable(self.where, *reason) from error


def _make_client(settings: StoreSettings, access_key: str, secret_key: str, read_s: float) -> Any:
    return boto3.client(
        "s3",
        endpoint_url=settings.s3_endpoint,
        region_name=settings.s3_region,
        aws_access_key_id=access_key,
        aws_secret_access_key=secret_key,
        config=Config(
            retries={"total_max_attempts": 1}, connect_timeout=3, read_timeout=read_s, max_pool_connections=16
        ),
    )


def _http_now() -> str:
    return datetime.now(UTC).strftime("%a, %d %b %Y %H:%M:%S GMT")


def _code(error: Exception) -> str:
    return str(error.response.get("Error", {}).get("Code", "")) if isinstance(error, ClientError) else ""


def _is_temporary(error: Exception, code: str) -> bool:
    """Whether a retry makes sense: no answer, or an error of the server itself."""
    if not isinstance(error, ClientError):
        return True
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 500)
    return bool(status >= 500 or status == 429 or code in _CONDITION) and code not in (*_FULL, *_UNKNOWN)


def _reason_and_advice(error: Exception, settings: StoreSettings) -> tuple[str, str]:
    """What went wrong, and what a person can do about it."""
    if isinstance(error, EndpointConnectionError | ConnectTimeoutError):
        return "no connection to it", "Start it, or check AWS_ENDPOINT_URL_S3; work then continues by itself."
    if not isinstance(error, ClientError):
        return f"it did not answer in full ({type(error).__name__})", "Check its log; work continues by itself."
    code = _code(error)
    advice = "Check its log; work continues by itself once it is back."
    if code in ("InvalidAccessKeyId", "SignatureDoesNotMatch", "AccessDenied", "Forbidden", "403"):
        names = (settings.own_secret_name("s3-access-key"), settings.own_secret_name("s3-secret-key"))
        advice = f"Check the secrets {names[0]} and {names[1]}, and the permissions of that key."
    elif code == "NoSuchBucket":
        advice = "Create the bucket; the service `accounts` of infra/compose.yaml does it."
    elif code == "RequestTimeTooSkewed":
        advice = "The clocks of this machine and of the store differ by over 15 minutes: synchronise both with NTP."
    elif code in _FULL:
        advice = "Its disk or quota is full: free some space; work then continues by itself."
    return f"{error.operation_name} answered {code}", advice
