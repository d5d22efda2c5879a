"""Routes for the review, for figures over many parts, and for what leaves the record."""
