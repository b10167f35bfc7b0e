"""Speed, compared with the machine's limits and with PyTorch: the measurements of `bench`.

- `measure.py`: subjects that take turns, medians and spreads;
- `machine.py`: a description of the machine, and its limits;
- `steps.py`: the training steps of LeNet-5 and AlexNet; `peer_torch.py`: the same in PyTorch;
- `input.py`: stored photos, read and trained on; `sweep.py`: many runs as one program;
- `run.py`: one measurement; `report.py`: its JSON and its table.
"""
