"""The SQLite store of bars and journal: schema, rows, repair, the thread it runs on."""
