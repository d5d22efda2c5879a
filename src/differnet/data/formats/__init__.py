"""What single formats say of their pixels, and what of it must be checked before they are decoded."""
