"""One self-contained page of verdicts, pictures and promises."""
