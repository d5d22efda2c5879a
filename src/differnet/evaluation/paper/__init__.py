"""The paper's tables and figures, own figures beside published ones."""
