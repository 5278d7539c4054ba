"""The status page with made-up slots: how long an answer takes, and what it holds up."""
