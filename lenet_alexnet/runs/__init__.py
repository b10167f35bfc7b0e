"""What a run leaves behind: its folder, checkpoints, log, and the lock that protects them."""
