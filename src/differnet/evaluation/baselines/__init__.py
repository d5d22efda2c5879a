"""Other ways to find defects after seeing good images alone, to compare the detector with."""
