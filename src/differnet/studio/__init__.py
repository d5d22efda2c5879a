"""Train where the pictures are: from a folder of good pictures to a model that judges, in a browser."""
