"""The base of every document that is stored or travels: typed, with one reader and one writer."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError

from common.errors import FieldError, SabuesoError
from common.redaction import redact, shown_url, without_account

# Fields that are stored and shown: a message, the address of a source, a link. Documents of earlier versions may hold
# more of a URL.
RedactedText = Annotated[str, AfterValidator(redact)]
ShownUrl = Annotated[str, AfterValidator(shown_url)]
WithoutAccount = Annotated[str, AfterValidator(without_account)]


class Document(BaseModel):
    """A JSON object. Unknown keys are ignored, so that a newer version's documents can be read."""

    model_config = ConfigDict(frozen=True, extra="ignore", validate_by_name=True, serialize_by_alias=True)

    def encode(self) -> bytes:
        """The document as it is stored."""
        return self.model_dump_json().encode()

    @classmethod
    def decode(cls, body: bytes, where: str) -> Self:
        """Read a stored document. Raises DamagedDocument, naming the place and the fields that are wrong."""
        try:
            return cls.model_validate_json(body)
        except ValidationError as error:
            raise DamagedDocument(where, field_errors(error)) from None


class DamagedDocument(SabuesoError):
    """A stored document that was altered or cut short."""

    def __init__(self, where: str, errors: list[FieldError]) -> None:
        reasons = "; ".join(f"{error.field}: {error.detail}" if error.field else error.detail for error in errors[:3])
        super().__init__(f"{where} is damaged ({reasons}). Restore it from a backup.", tuple(errors))


def field_errors(error: ValidationError) -> list[FieldError]:
    """pydantic's errors with the path of each field, such as `columns[0].type`."""
    return [FieldError(field_path(one["loc"]), one["msg"].removeprefix("Value error, ")) for one in error.errors()]


def field_path(location: tuple[int | str, ...]) -> str:
    """("columns", 0, "type") -> `columns[0].type`."""
    path = ""
    for part in location:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else part
    return path
