"""The options of ``differnet serve``."""
