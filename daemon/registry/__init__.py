"""Model versions on disk: pointer, keys, signing, retention."""
