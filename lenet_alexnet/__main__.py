"""`python -m lenet_alexnet COMMAND ...`, the same as the console script `lenet-alexnet`."""

from lenet_alexnet.cli import run

if __name__ == "__main__":
    run()
