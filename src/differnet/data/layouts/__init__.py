"""How data sets are laid out in folders, and which of their files are masks."""
