"""The command line: one module per group of commands."""

from daemon.cli.main import main

__all__ = ["main"]
