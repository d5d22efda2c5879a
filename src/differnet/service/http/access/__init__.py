"""Who may ask, from where, for what, and how long one waits for them."""
