"""What a run leaves behind: its folder, its checkpoints, its log, and the lock that protects them."""
