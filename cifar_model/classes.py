"""The ten classes of CIFAR-10, their order, their colours and the picture size: the facts all else shares."""

# Order of the labels 0 to 9, as in Krizhevsky (2009), "Learning Multiple Layers of Features from Tiny Images".
CLASS_NAMES = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)

# Height and width, in pixels, of the pictures that every network here takes.
IMAGE_SIZE = 32

# One colour a class, the same on every chart and page; readable on white and on near-black.
# Hues follow Okabe & Ito's colour-blind-safe set; pairs that people confuse (cat/dog, deer/horse) lie far apart.
CLASS_COLORS = {
    "airplane": "#56B4E9",
    "automobile": "#D55E00",
    "bird": "#C9B400",
    "cat": "#E69F00",
    "deer": "#8C6D46",
    "dog": "#0072B2",
    "frog": "#009E73",
    "horse": "#CC79A7",
    "ship": "#6A5ACD",
    "truck": "#8A8F98",
}
