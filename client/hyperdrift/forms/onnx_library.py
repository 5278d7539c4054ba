"""The library that runs portable models, told to report to nobody."""

import os
from importlib import import_module
from typing import Any


def onnxruntime() -> Any:
    """Import onnxruntime, and return it. Blocks for up to half a second the first time.

    On its own it numbers the user's machine in a file of the home folder, and sends what it runs
    to its maker. It asks for this variable once, when it is imported; who has set it is heard.

    Raises:
        ImportError: If it is not installed.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    return import_module("onnxruntime")
