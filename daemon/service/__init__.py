"""The service manager, the watchdog, retention, the published status."""
