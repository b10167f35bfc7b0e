"""The tables of LeNet-5 (1998): C3's connections (Table I), the output codes (Fig. 3)."""

import numpy as np

Table = tuple[tuple[int, ...], ...]


def parse(text: str) -> Table:
    """0/1 rows separated by white space -> tuple of rows."""
    return tuple(tuple(int(mark) for mark in row) for row in text.split())


def full(inputs: int, outputs: int) -> Table:
    """The table of a layer in which every map sees every input map."""
    return ((1,) * outputs,) * inputs


# Table I: row = S2 map 0..5, column = C3 map 0..15.
C3_TABLE = parse("""
    1000111001111011
    1100011100111101
    1110001110010111
    0111001111001011
    0011100111101101
    0001110011110111
""")

# LeNet-1: row = H2 map, column = H3 map. One source only: the README of github
# Mystique1337/lecun-1989-mnist-reproduction; its counts (2,578 and 98,442) agree.
LENET1_TABLE = parse("""
    111011000000
    011111000000
    000000111011
    000000011111
""")

# Fig. 3, digits of the ASCII set: 12 rows from the top, the digits 0..9 side by side, 1 = ink.
_CODES = """
    0111110 0001100 0111110 1111111 0111110 0111110 0011110 1111111 0111110 0111110
    0000000 0011100 0000000 0000011 0000000 0000000 0110000 0000011 1100011 1100111
    0011100 0111100 0111110 0000110 0000000 1111111 1100000 0000011 1100011 1100011
    0110110 0001100 1100011 0001100 0110011 1100000 1100000 0000110 1100011 1100011
    1100011 0001100 1000011 0011110 0110011 1100000 1111110 0001100 0111110 1100111
    1100011 0001100 0000110 0000011 1110011 0111100 1110011 0001100 1100011 0111111
    1100011 0001100 0011100 0000011 1100011 0011110 1100011 0011000 1100011 0000011
    1100011 0001100 0110000 0000011 1100011 0000011 1100011 0011000 1100011 0000011
    0110110 0001100 1100000 1100011 1100111 1100011 1110011 0011000 1100011 0000110
    0011100 0111111 1111111 0111110 0111111 0111110 0111110 0011000 0111110 0111100
    0000000 0000000 0000000 0000000 0000011 0000000 0000000 0000000 0000000 0000000
    0000000 0000000 0000000 0000000 0000011 0000000 0000000 0000000 0000000 0000000
"""


def digit_codes() -> np.ndarray:
    """The fixed centres of the RBF units, [10, 84], +1 (ink) or -1, row by row of the bitmap."""
    rows = np.array(parse(_CODES)).reshape(12, 10, 7)  # row, digit, column
    return (2.0 * rows.transpose(1, 0, 2).reshape(10, 84) - 1.0).astype(np.float32)
