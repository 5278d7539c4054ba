"""The HTML of the pages: Jinja templates, pictures in SVG, one style sheet, one script.

A page needs nothing but its own files, and no script but for news that arrive while it is open.
Text of others is escaped by Jinja, whatever it holds.
"""
