"""What a report of a fault should say of the machine, and whether differnet works on it."""
