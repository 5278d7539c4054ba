"""The forms in which a version's model is saved, and how each is loaded."""
