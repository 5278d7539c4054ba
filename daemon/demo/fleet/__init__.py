"""A small fleet on one machine: several coins that a whole market moves together."""
