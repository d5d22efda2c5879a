"""What is said of parts and rates, in the same words everywhere."""
