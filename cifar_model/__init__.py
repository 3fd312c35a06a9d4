"""CIFAR-10 lab: train small image classifiers, ask them about pictures, and learn how far to trust them."""

__version__ = "0.1.0"
