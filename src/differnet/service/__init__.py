"""The inspection service: models behind HTTP, and a record of everything they said."""
