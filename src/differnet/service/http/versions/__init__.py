"""Versions of models that are put in place, tried beside another and taken away while the service runs."""
