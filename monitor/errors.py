"""The errors of the monitor."""

from typing import ClassVar


class MonitorError(Exception):
    """Root of the monitor's errors; `transient` is False: trying again does not help."""

    transient: ClassVar[bool] = False


class BadObservation(MonitorError):
    """An event has an impossible value."""

    def __init__(self, name: str, value: object, rule: str) -> None:
        super().__init__(name, value, rule)
        self.name, self.value, self.rule = name, value, rule

    def __str__(self) -> str:
        return f"{self.name} must be {self.rule}, was {self.value!r}; drop it or fix its source"


class BadReference(MonitorError):
    """The reference distribution cannot be used to detect drift."""
