"""The inspection station: what judges images where the camera is, without torch."""
