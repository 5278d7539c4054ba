"""Bars, clocks, files, subprocesses, errors and logs; nothing about venues, models or MQTT."""
