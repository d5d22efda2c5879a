"""Other methods beside this one, in one table."""
