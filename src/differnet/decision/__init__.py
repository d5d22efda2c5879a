"""Scores of good images in; p-value, threshold, verdict, alarm out."""
