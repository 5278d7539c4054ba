"""Get the files of an ordered version, wherever this bot runs."""
