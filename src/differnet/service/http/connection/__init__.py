"""How much a sender may bring, and how long one waits for senders and readers."""
