"""The two forms of a saved model, how each is made and proved; and the forms of a job's bars."""
