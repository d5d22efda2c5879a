"""Options in, sentences out."""
