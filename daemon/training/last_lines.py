"""Read the last line of a child that trains: a verdict, or the answer of a quick challenger."""

from collections.abc import Mapping
from typing import Any

import msgspec

from daemon.core.errors import RetrainFailedError
from daemon.core.outside_text import printable


class ChallengeOutcome(msgspec.Struct, frozen=True):
    """The answer of a quick challenger; log losses in nats, None if nothing was compared."""

    helps: bool | None
    text: str
    rows: int = 0
    champion: float | None = None
    fresh: float | None = None
    stale: float | None = None


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
    try:
        return msgspec.convert(line, JobVerdict)
    except msgspec.ValidationError as e:
        msg = f"the last line of the retrain process is not a verdict ({printable(str(e))})"
        raise RetrainFailedError(msg) from e


def read_challenge(line: Mapping[str, Any]) -> ChallengeOutcome:
    """Read the line `finished` of a quick challenger.

    Raises:
        RetrainFailedError: If it is no answer.
    """
    try:
        return msgspec.convert(line, ChallengeOutcome)
    except msgspec.ValidationError as e:
        msg = f"the last line of the challenger is not an answer ({printable(str(e))})"
        raise RetrainFailedError(msg) from e
