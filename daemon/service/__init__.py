"""The service manager, the watchdog, retention and the published status."""
