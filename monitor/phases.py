"""What a slot can be doing, in one word each."""

import enum


class Phase(enum.StrEnum):
    """What a slot is doing; an earlier phase hides a later one."""

    SWAPPING = "swapping"
    JUDGING = "judging"
    RETRAINING = "retraining"
    PAUSED = "paused"
    PROBATION = "probation"
    SERVING = "serving"
    COLLECTING = "collecting"
