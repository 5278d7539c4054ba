"""Read the last line of a child that trains: a verdict, or the answer of a quick challenger."""

from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

from daemon.core.errors import RetrainFailedError
from daemon.core.outside_text import printable

_Line = TypeVar("_Line", bound=msgspec.Struct)


class ChallengeOutcome(msgspec.Struct, frozen=True):
    """The answer of a quick challenger; log losses in nats, None if nothing was compared.

    `refused_by` names the gates that would refuse a candidate; then `text` says why.
    """

    helps: bool | None
    text: str
    rows: int = 0
    champion: float | None = None
    fresh: float | None = None
    stale: float | None = None
    refused_by: tuple[str, ...] = ()


class JobVerdict(msgspec.Struct, frozen=True):
    """The last line of a child that made a candidate."""

    manifest: str
    model_id: str
    passed: bool
    refused_by: tuple[str, ...]


def read_verdict(line: Mapping[str, Any]) -> JobVerdict:
    """Read the line `finished` of a child that trains.

    Raises:
        RetrainFailedError: If it is no verdict.
    """
    return _read(line, JobVerdict, "the retrain process is not a verdict")


def read_challenge(line: Mapping[str, Any]) -> ChallengeOutcome:
    """Read the line `finished` of a quick challenger.

    Raises:
        RetrainFailedError: If it is no answer.
    """
    return _read(line, ChallengeOutcome, "the challenger is not an answer")


def _read(line: Mapping[str, Any], kind: type[_Line], fault: str) -> _Line:
    try:
        return msgspec.convert(line, kind)
    except msgspec.ValidationError as e:
        raise RetrainFailedError(f"the last line of {fault} ({printable(str(e))})") from e
