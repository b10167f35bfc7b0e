"""The command `bench`: how fast, beside the machine's limits and beside PyTorch.

- `measure.py`: subjects that take turns, medians and spreads;
- `machine.py`: what the machine is and what it can do at most;
- `steps.py`: the training steps of LeNet-5 and AlexNet; `peer_torch.py`: the same in PyTorch;
- `input.py`: stored photos, read and trained on; `sweep.py`: many runs as one program;
- `command.py`: flags and tables.
"""
