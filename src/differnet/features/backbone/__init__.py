"""The frozen network, and the runtimes that compute it."""
