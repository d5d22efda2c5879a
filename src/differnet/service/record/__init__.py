"""A record of every inspection, and the images kept beside it."""
