"""An image in, rows of features out: views, backbone, pooling, cache."""
