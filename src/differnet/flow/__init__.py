"""Rows of features to latents, scores and heat maps."""
