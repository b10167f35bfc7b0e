"""What this machine offers, what would be slow or fail on it, and how to mend each."""
