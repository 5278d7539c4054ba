"""The page that a person reads, with its plots."""
