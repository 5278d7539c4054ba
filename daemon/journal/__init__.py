"""The journal in words, for the pages, the terminal and the digest."""
