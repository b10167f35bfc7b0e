"""What runs will take, before they start: time, memory, exchanges and disk, from a few steps."""
