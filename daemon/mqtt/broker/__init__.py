"""The embedded broker's own process: MQTT 3.1.1 with users, rights and limits."""
