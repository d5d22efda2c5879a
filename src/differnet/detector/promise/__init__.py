"""What a promise rests on: which images are held out, and what later images say of it."""
