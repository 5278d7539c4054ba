"""The errors of a retrain, drawn as one tree.

    RetrainError
    ├── TooFewBars           wait, or load more history
    ├── ClassMissing         the labels leave a class all but empty
    ├── BadFrame             the bars handed in cannot be used as they are
    ├── BadSetting           a number is outside what it may be
    │   └── BadThreshold     a label threshold cannot be read
    ├── ComputerFailed       a bot's own feature class failed
    ├── BadJob               the job handed to the child process cannot be used
    └── ArtifactError        a model version on disk cannot be used

Each class says whether the same call may work in a minute (`transient`). All
survive pickling, because they cross from the child process to its parent.
"""

from typing import ClassVar


class RetrainError(Exception):
    """Root of the errors of a retrain.

    `transient`: True if the same call may work in a minute, False if a person must act.
    """

    transient: ClassVar[bool] = False


class TooFewBars(RetrainError):
    """There are too few bars; more arrive with time.

    `lacking` names a column that is unknown for most of them, "" if none is.
    """

    transient = True

    def __init__(self, have: int, need: int, lacking: str = "") -> None:
        super().__init__(have, need, lacking)
        self.have, self.need, self.lacking = have, need, lacking

    def __str__(self) -> str:
        if self.lacking:
            return (
                f"most of the {self.have} bars lack {self.lacking}; backfill or import it: "
                f"{self.need} bars with every feature are needed"
            )
        return f"have {self.have} bars, need {self.need}; backfill more history or wait for it"


class ClassMissing(RetrainError):
    """A class is so rare under the chosen labels that no model can learn it.

    `share` and `minimum` are fractions of the bars; `table` shows what other thresholds would
    give, for a person to choose from.
    """

    def __init__(self, name: str, share: float, minimum: float, table: str) -> None:
        super().__init__(name, share, minimum, table)
        self.name, self.share, self.minimum, self.table = name, share, minimum, table

    def __str__(self) -> str:
        return (
            f"only {self.share:.2%} of the bars are {self.name}, at least {self.minimum:.0%} are "
            f"needed; choose a horizon and threshold from this table:\n{self.table}"
        )


class BadFrame(RetrainError):
    """The bars cannot be used as they are: a column is missing, unsorted or impossible."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return f"the bars cannot be used: {self.reason}"


class BadSetting(RetrainError):
    """A number that a person or a caller chose is outside what it may be."""

    def __init__(self, name: str, value: object, rule: str) -> None:
        super().__init__(name, value, rule)
        self.name, self.value, self.rule = name, value, rule

    def __str__(self) -> str:
        return f"{self.name} must be {self.rule}, was {self.value!r}"


class BadThreshold(BadSetting):
    """A label threshold cannot be read."""

    def __init__(self, value: object) -> None:
        rule = 'a fraction between 0 and 1 such as 0.005, "auto", or "vol:" and a multiple above 0'
        super().__init__("threshold", value, rule)
        self.args = (value,)  # the arguments of this class when it is unpickled


class ComputerFailed(RetrainError):
    """A bot's feature class cannot be used."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(name, reason)
        self.name, self.reason = name, reason

    def __str__(self) -> str:
        return f"features.computer {self.name} {self.reason}"


class BadJob(RetrainError):
    """The job handed to the child process cannot be used."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return f"the retrain job cannot be used: {self.reason}"


class ArtifactError(RetrainError):
    """A model version on disk is missing, incomplete, altered or cannot be loaded."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return f"the model version cannot be used: {self.reason}"
