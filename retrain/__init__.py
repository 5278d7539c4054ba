"""A library that trains and judges a candidate: arrays in, a version out."""
