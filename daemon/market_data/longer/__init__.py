"""Make the bars of a longer interval from the bars of a shorter one of the same coin."""
