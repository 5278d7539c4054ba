"""Make bars of record from stream and REST, and store funding and order flow."""
