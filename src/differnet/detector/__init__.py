"""The detector: fit on good images, score, predict, localize, save and load."""
