"""The studio over HTTP: its page, what that asks, and the live service below ``/live/``."""
