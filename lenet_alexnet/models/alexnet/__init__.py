"""AlexNet (Krizhevsky, Sutskever, Hinton 2012): the network, its layers, its variants."""
