"""What can go wrong in the monitor."""

from typing import ClassVar


class MonitorError(Exception):
    """Root of the monitor's errors; `transient` is False: a person or a bug must be fixed."""

    transient: ClassVar[bool] = False


class BadObservation(MonitorError):
    """A value that no event may carry."""

    def __init__(self, name: str, value: object, rule: str) -> None:
        super().__init__(name, value, rule)
        self.name, self.value, self.rule = name, value, rule

    def __str__(self) -> str:
        return f"{self.name} must be {self.rule}, was {self.value!r}; drop it or fix its source"


class BadReference(MonitorError):
    """A reference distribution that drift cannot be judged against."""
