"""What happens to a batch inside the jitted step, of digits and of photos; their statistics."""
