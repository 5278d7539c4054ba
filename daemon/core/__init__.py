"""Bars, clocks, files, subprocesses, errors, logs: no word about venues, models or MQTT."""
