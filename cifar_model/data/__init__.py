"""CIFAR-10 and its stand-ins."""
