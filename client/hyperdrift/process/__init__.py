"""What a bot's process needs: other threads that go on, forks, watches of folders."""
