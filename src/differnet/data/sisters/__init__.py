"""Images that belong together, found without being told: near-copies, names with counters, bursts, series."""
