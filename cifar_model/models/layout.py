"""The files of a model's directory."""

MODEL_FILE = "model.keras"
COMPILED_FILE = "model.tflite"
CARD_FILE = "card.json"
HISTORY_FILE = "history.csv"
ANSWERS_FILE = "answers.npz"
EPOCHS_FOLDER = "epochs"
