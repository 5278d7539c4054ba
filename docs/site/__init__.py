"""What turns the pages into a site, beside Sphinx's own settings in `docs/conf.py`."""
