"""The forms of operations that are fast on CPUs: other orders of maps in memory, loops in C++."""
