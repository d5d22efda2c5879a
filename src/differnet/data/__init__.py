"""Pictures and tables in, files out whole."""
