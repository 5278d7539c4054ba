"""Files that people bring, and the venue's archive, into the store."""
