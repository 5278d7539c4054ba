"""A library: arrays in, a judged candidate out."""
