"""A trained run in use: opened, evaluated, asked about images."""
