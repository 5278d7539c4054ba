"""The features of a closed bar, and what the models say of it."""
