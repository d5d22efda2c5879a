"""What is found out from good images: which views, which features, how long to train."""
