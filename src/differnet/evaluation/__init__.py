"""How good a detector is: figures, pictures, pages, the paper's tables, other methods."""
