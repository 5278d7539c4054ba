"""The configuration: its schema, how it is read, checked and read again."""
