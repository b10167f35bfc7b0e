"""What other programs import from `lenet_alexnet`; lenet_alexnet/__init__.py has the names."""
