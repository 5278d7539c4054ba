"""Tell people what matters, by the services that they use: mail, Telegram, Discord, ntfy, ..."""
