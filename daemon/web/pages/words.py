"""The words and shapes of a state, so that no state is told by its colour alone."""

from typing import Final, NamedTuple


class Word(NamedTuple):
    """How a state is shown.

    Attributes:
        text: The word.
        shape: The shape beside it, drawn by `parts/shapes.html`.
        tone: `good`, `accent`, `warn`, `bad` or `soft`: the colour that goes with it.
    """

    text: str
    shape: str
    tone: str


URGENCIES: Final = {
    "ok": Word("All is well", "disc", "good"),
    "busy": Word("At work", "half", "accent"),
    "look": Word("Have a look", "triangle", "warn"),
    "act": Word("Needs you", "square", "bad"),
}
"""How much a slot needs its owner, the most last."""

PHASES: Final = {
    "collecting": Word("collecting bars", "ring", "soft"),
    "serving": Word("serving", "disc", "good"),
    "probation": Word("serving on probation", "disc", "accent"),
    "paused": Word("paused", "pause", "warn"),
    "retraining": Word("retraining", "half", "accent"),
    "judging": Word("judging a candidate", "half", "accent"),
    "swapping": Word("swapping the model", "half", "accent"),
}

STEPS: Final = {
    "start": "starting",
    "features": "computing the features",
    "labels": "labelling the bars",
    "out-of-fold": "training on parts of the history",
    "judge": "judging the candidate",
    "champion": "comparing it with the live model",
    "refit": "training on the whole history",
    "save": "saving it",
    "report": "writing its report",
    "self-test": "loading it in a fresh Python",
    "drift calibration": "learning how much its features differ by chance",
    "done": "done",
}
"""What a retrain does in each of its steps."""

MARKS: Final = {
    "live": Word("went live", "triangle", "good"),
    "rolled_back": Word("rolled back", "back", "warn"),
    "trained": Word("trained", "ring", "accent"),
    "refused": Word("refused", "cross", "warn"),
    "drift": Word("drift", "diamond", "warn"),
    "alarm": Word("alarm", "square", "bad"),
}
"""What the timeline of a slot shows, in the order of its lanes."""

SEVERITIES: Final = {
    "info": Word("", "dot", "soft"),
    "warning": Word("warning", "triangle", "warn"),
    "critical": Word("critical", "square", "bad"),
}

ORDERS: Final = {
    "retrain": (
        "Retrain",
        "Train a candidate now, without waiting for evidence. Its gates still decide.",
    ),
    "rollback": (
        "Roll back",
        "Make an earlier version live again, in the bots too.",
    ),
    "promote": (
        "Promote",
        "Make a version live by hand, whatever its gates said. The journal keeps that you did.",
    ),
    "pause": (
        "Pause",
        "No retrain or change of the model by itself until you resume. Your own orders still work.",
    ),
    "resume": ("Resume", "Let the policy decide again."),
}
"""What an operator may order: the word on the button, and what follows."""


def good(text: str) -> Word:
    """Return how it is shown that something is as it should be."""
    return Word(text, "check", "good")


def doubtful(text: str) -> Word:
    """Return how it is shown that something may need a look."""
    return Word(text, "triangle", "warn")


def bad(text: str) -> Word:
    """Return how it is shown that something is not as it should be."""
    return Word(text, "cross", "bad")


def word(words: dict[str, Word], name: str) -> Word:
    """Return how a state is shown; one that is not known is shown by its own name."""
    return words.get(name) or Word(name, "ring", "soft")
