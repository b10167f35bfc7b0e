"""Config files: loading them, the sections they have, the options left out, checks, durations."""
