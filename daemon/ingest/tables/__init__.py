"""Read files of other programs: from bytes to a table of judged rows."""
