"""Every error that a person may meet: each kind knows its HTTP status and whether a retry makes sense."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class FieldError:
    """One mistake, at one field (a column, a key, a part of the request)."""

    field: str
    detail: str

    def as_dict(self) -> dict[str, str]:
        return {"field": self.field, "detail": self.detail}


class SabuesoError(Exception):
    """The root. `detail` says what, why and what to do; it never holds a secret."""

    status = 500
    kind = "internal"
    title = "Internal error"
    retry_after_s: int | None = None

    def __init__(self, detail: str, errors: tuple[FieldError, ...] = ()) -> None:
        super().__init__(detail)
        self.detail = detail
        self.errors = errors


class Malformed(SabuesoError):
    status, kind, title = 400, "malformed", "The request can't be read"


class Unauthorized(SabuesoError):
    status, kind, title = 401, "unauthorized", "A token is needed"


class NotFound(SabuesoError):
    status, kind, title = 404, "not-found", "There is no such thing here"


class MethodNotAllowed(SabuesoError):
    status, kind, title = 405, "method-not-allowed", "This method is not for this address"


class AlreadyRunning(SabuesoError):
    status, kind, title = 409, "already-running", "It is running already"


class TooSoon(SabuesoError):
    """The work was done a moment ago; told as a result, not as a problem."""

    status, kind, title = 409, "too-soon", "It was done a moment ago"

    def __init__(self, age_s: float, rest_s: float) -> None:
        super().__init__(f"the last one was {age_s:.0f} s ago; {rest_s - age_s:.0f} s more")


class TooLarge(SabuesoError):
    status, kind, title = 413, "too-large", "The body is too large"


class WrongType(SabuesoError):
    status, kind, title = 415, "wrong-type", "This content type is not taken here"


class Unusable(SabuesoError):
    status, kind, title = 422, "unusable", "Understood, but not usable"


class Unavailable(SabuesoError):
    """Something that we need does not answer now; a retry makes sense."""

    status, kind, title = 503, "unavailable", "Not available now"
    retry_after_s = 15


class Busy(Unavailable):
    """More calls at once than this worker takes; a retry soon makes sense."""

    kind, title = "busy", "Too many calls at once"
    retry_after_s = 2

    def __init__(self, why: str) -> None:
        super().__init__(f"This function is busy: {why}. Send the call again in a moment.")


class StoreUnavailable(Unavailable):
    """The store does not answer, or refuses; `advice` is what a person does about it."""

    kind, title = "store-unavailable", "The object store can't be used now"

    def __init__(self, where: str, why: str, advice: str = "Start it; then this goes on by itself.") -> None:
        super().__init__(f"The object store {where} can't be used: {why}. {advice}")
        self.where, self.why = where, why


class RegistryUnavailable(Unavailable):
    """MLflow does not answer, or refuses; `advice` is what a person does about it."""

    kind, title = "registry-unavailable", "MLflow can't be used now"

    def __init__(self, where: str, why: str, advice: str = "Start it, or check MLFLOW_TRACKING_URI.") -> None:
        super().__init__(f"MLflow at {where} can't be used: {why}. {advice}")
        self.where = where


class NoModel(Unavailable):
    kind, title = "no-model", "No model serves this pipeline yet"

    def __init__(self, pipeline: str, why: str) -> None:
        super().__init__(f"Pipeline {pipeline!r} has no champion to serve: {why}")
        self.pipeline = pipeline


class BundleRefused(SabuesoError):
    """A bundle that is unsigned, altered, of an unknown format, or answers other than it should."""

    status, kind, title = 500, "bundle-refused", "The bundle was refused"


class WrongSettings(SabuesoError):
    """Settings or pipeline files that can't be used; reported all at once, at start."""

    kind, title = "wrong-settings", "The settings can't be used"

    def __init__(self, what: str, errors: list[FieldError]) -> None:
        lines = "".join(f"\n  {error.field}: {error.detail}" for error in errors)
        super().__init__(f"{what} can't be used:{lines}", tuple(errors))


class SourceUnavailable(SabuesoError):
    """A source that does not answer, or answers what is no batch; the next fetch asks again."""

    status, kind, title = 503, "source-unavailable", "The source does not answer"


class SourceExhausted(SabuesoError):
    """The source says that it has given all that it will give."""

    status, kind, title = 409, "source-exhausted", "The source has given everything"


class SourceChanged(SabuesoError):
    """The store already holds data of another source; mixing the two would be silent damage."""

    status, kind, title = 409, "source-changed", "The stored data come from another source"


class TrainingFailed(SabuesoError):
    kind, title = "training-failed", "The training failed"


class Conflict(SabuesoError):
    """A conditional write met another writer's object."""

    status, kind, title = 409, "conflict", "Another writer was first"
