"""Many images, many models, many machines."""
