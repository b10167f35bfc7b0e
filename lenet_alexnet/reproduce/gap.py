"""Overfitting as a quantity: the test error's excess over the error of training images."""

from lenet_alexnet.reproduce.claims import Values


def gaps(results: list[dict[str, str]], curves: list[dict[str, str]]) -> Values:
    """The test error of each set, and as "gap, SET" its excess, by seed and in per cent.

    The runs have training images as `data.validation`: they are evaluated as test images are,
    without dropout and augmentation.
    """
    found: Values = {}
    for row in results:
        same = [
            float(r["error"])
            for r in curves
            if (r["set"], str(r["seed"]), r["split"])
            == (row["set"], str(row["seed"]), "validation")
        ]
        test = float(row["test_error"])
        found.setdefault(row["set"], []).append(100 * test)
        found.setdefault(f"gap, {row['set']}", []).append(100 * (test - same[-1]))
    return found
