"""Models behind HTTP, and the operator's page."""
