"""Telling others what the log says: letters written with an event, and carried to Slack, a web hook or a command."""
