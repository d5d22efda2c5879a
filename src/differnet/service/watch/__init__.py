"""What arrives in a folder, a video or from a camera is judged once."""
