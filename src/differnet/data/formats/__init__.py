"""What formats say of their samples, what must be checked of them, and how samples of any kind become pixels."""
