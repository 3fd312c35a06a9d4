"""What can be chosen by name, each in one line: networks, recipes, optimizers."""

NETWORKS = {
    "seed-cnn": "A classic small CNN: three convolutions and two dense layers, 123 thousand parameters.",
    "lab-net": "A modern small residual network, built for accuracy per second on a CPU.",
    "custom": "Your own: choose the convolution blocks, their filters, the dropout and the dense layer.",
}

RECIPES = {
    "seed": "Plain Adam at one learning rate, batches of 32, no augmentation: the textbook start.",
    "quick": "For live demonstrations: a short schedule that gets far in a few minutes.",
    "full": "For the best model: more epochs, with augmentation and a falling learning rate.",
}

OPTIMIZERS = {
    "adam": "Adam: adapts the step of every weight (Kingma & Ba 2015).",
    "adamw": "Adam with decoupled weight decay (Loshchilov & Hutter 2019).",
    "sgd": "Stochastic gradient descent with Nesterov momentum 0.9.",
    "muon": "Muon: orthogonalised steps for convolution kernels, Adam for the rest (Jordan et al. 2024).",
}
