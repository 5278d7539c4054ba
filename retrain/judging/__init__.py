"""The verdict: gates, comparison with the champion, findings, certificate."""
