"""Images anywhere, judged on a Ray cluster into parts of rows."""
