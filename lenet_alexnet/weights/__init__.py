"""Files of weights: ours, torch's, Caffe's and NumPy's are read as arrays; nothing is executed."""
