"""The errors that a caller may get. Each kind knows its HTTP status and whether a retry makes sense."""

from __future__ import annotations

from dataclasses import dataclass

from common.redaction import redact


@dataclass(frozen=True)
class FieldError:
    """One mistake at one field: a column, a key, a part of the request."""

    field: str
    detail: str

    def as_dict(self) -> dict[str, str]:
        return {"field": self.field, "detail": self.detail}


class SabuesoError(Exception):
    """The root. `detail` says what happened, why, and what to do, without the credentials and queries of URLs."""

    status = 500
    kind = "internal"
    title = "Internal server error"
    retry_after_s: int | None = None

    def __init__(self, detail: str, errors: tuple[FieldError, ...] = ()) -> None:
        self.detail = redact(detail)
        super().__init__(self.detail)
        self.errors = tuple(FieldError(redact(error.field), redact(error.detail)) for error in errors)


class Malformed(SabuesoError):
    status, kind, title = 400, "malformed", "Bad request"


class Unauthorized(SabuesoError):
    status, kind, title = 401, "unauthorized", "Unauthorized"


class NotFound(SabuesoError):
    status, kind, title = 404, "not-found", "Not found"


class MethodNotAllowed(SabuesoError):
    status, kind, title = 405, "method-not-allowed", "Method not allowed"


class AlreadyRunning(SabuesoError):
    status, kind, title = 409, "already-running", "Already running"


class TooSoon(SabuesoError):
    """The last run ended less than the minimum interval ago. Reported as a result, not as a problem."""

    status, kind, title = 409, "too-soon", "Too soon"

    def __init__(self, age_s: float, interval_s: float) -> None:
        super().__init__(f"the last run was {age_s:.0f} s ago; wait {interval_s - age_s:.0f} s more")


class Conflict(SabuesoError):
    """A conditional write failed because another writer changed the object."""

    status, kind, title = 409, "conflict", "Write conflict"


class TooLarge(SabuesoError):
    status, kind, title = 413, "too-large", "Content too large"


class WrongType(SabuesoError):
    status, kind, title = 415, "wrong-type", "Unsupported media type"


class Unusable(SabuesoError):
    status, kind, title = 422, "unusable", "Unprocessable content"


class Unavailable(SabuesoError):
    """A service that we need does not answer now; a retry makes sense."""

    status, kind, title = 503, "unavailable", "Service unavailable"
    retry_after_s = 15


class Busy(Unavailable):
    """The worker is at its limit of concurrent calls; a retry soon makes sense."""

    kind, title = "busy", "Too many concurrent requests"
    retry_after_s = 2

    def __init__(self, why: str) -> None:
        super().__init__(f"This function is busy: {why}. Retry in a moment.")


class StoreUnavailable(Unavailable):
    """The object store does not answer, or refuses the request. `advice` tells a person what to do."""

    kind, title = "store-unavailable", "Object store unavailable"

    def __init__(self, where: str, why: str, advice: str = "Start it; work then continues by itself.") -> None:
        super().__init__(f"The object store {where} can't be used: {why}. {advice}")
        self.where, self.why = where, why


class RegistryUnavailable(Unavailable):
    """MLflow does not answer, or refuses the request. `advice` tells a person what to do."""

    kind, title = "registry-unavailable", "MLflow unavailable"

    def __init__(self, where: str, why: str, advice: str = "Start it, or check MLFLOW_TRACKING_URI.") -> None:
        super().__init__(f"MLflow at {where} can't be used: {why}. {advice}")
        self.where = where


class BundleRefused(SabuesoError):
    """A bundle that is unsigned, altered, of an unknown format, or gives other answers than in training."""

    status, kind, title = 500, "bundle-refused", "Bundle refused"


class WrongSettings(SabuesoError):
    """Invalid settings or pipeline files. Every mistake is reported at once, at start."""

    kind, title = "wrong-settings", "Invalid settings"

    def __init__(self, what: str, errors: list[FieldError]) -> None:
        lines = "".join(f"\n  {error.field}: {error.detail}" for error in errors)
        super().__init__(f"{what} can't be used:{lines}", tuple(errors))
