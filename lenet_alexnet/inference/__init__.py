"""Using trained runs: opening, evaluation, prediction."""
