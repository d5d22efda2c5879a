"""What serve and watch have in common."""
