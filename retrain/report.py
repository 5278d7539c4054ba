"""The report that a person reads."""

from collections.abc import Mapping
from typing import Any


def render(meta: Mapping[str, Any]) -> str:
    """Return one self-contained HTML page."""
    return f"<!doctype html><title>{meta['model_id']}</title>"
