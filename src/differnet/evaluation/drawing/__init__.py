"""What pictures of an evaluation are drawn with: bins of histograms, outlines of masks."""
