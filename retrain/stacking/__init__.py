"""The stack: base models, meta model, calibration, the twin that is judged."""
