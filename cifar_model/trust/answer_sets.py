"""Answer sets: every class that can't be ruled out, so that the truth is among them as often as promised.

Split conformal prediction with the score of RAPS, regularised adaptive prediction sets (Angelopoulos, Bates, Malik &
Jordan 2020, "Uncertainty Sets for Image Classifiers using Conformal Prediction", arXiv:2009.14193). Classes are taken
in the order of their probability. From rank 2 on the score of a class is the probability of all classes before it, plus
`penalty` for each rank beyond `rank`; a picture's set holds the classes whose score is at most a threshold. That
threshold is the smallest one that keeps the promise on pictures held out from training, and on new pictures of the
same kind it then holds as often, whatever the network (their theorem 1).

Two things differ from the paper, both so that a person can rely on a set:

- The first class scores 1 - p, and all others 1 more than above. In the paper a random draw for each picture makes the
  promise exact; sets of one picture would differ from draw to draw, and empty ones would fall on pictures of which the
  network is surest. Here nothing is random. The score is continuous, so the promise is exact all the same.
- Where the single answers are right more often than the level asks for (lab-net at 90 %), a set of one class keeps
  more than the promise. The sets of the least sure pictures are then empty: at this level the network commits itself to
  no class. A higher level says which classes are left. Nobody is told a set that is more often right than it says.

The promise is one over many pictures of the ten classes. It says nothing of a single class, nor of pictures that show
something else. Pure NumPy.
"""

import numpy as np

from cifar_model.classes import CLASS_NAMES
from cifar_model.errors import ModelError, SettingsError

LEVELS = (90, 95, 99)

# Chosen once, on held-out images of the shipped networks. Ten classes have no long tail to cut: larger penalties gave
# larger sets at 99 %, and so did choosing on a fifth of 2,500 held-out images, which is how the paper does it.
PENALTY = 0.003
RANK = 3


def fit_sets(y_true: np.ndarray, probabilities: np.ndarray, *, penalty: float = PENALTY, rank: int = RANK) -> dict:
    """Find the threshold of each of LEVELS: with it n + 1 pictures, these and a new one, keep the promise.

    Where the pictures are too few for a level (99 % needs 99), its sets hold all classes.

    Parameters
    ----------
    y_true : int array (n,), labels of pictures that the network has not learnt from
    probabilities : array (n, classes), the network's calibrated answers to them; rows sum to 1
    penalty : 0 to 0.5, added to the score for each rank beyond `rank`; keeps the largest sets small
    rank : 1 or more

    Returns
    -------
    dict
        What a card keeps as `sets`: {"method", "penalty", "rank", "levels": {"90": {"threshold"}, …}}.

    Raises
    ------
    ValueError
        No labels, or arrays that don't belong together.
    """
    y_true, probabilities = np.asarray(y_true), np.asarray(probabilities)
    if y_true.shape != probabilities.shape[:1] or not y_true.size:
        raise ValueError(
            f"Labels (n,) and probabilities (n, classes), n ≥ 1, belong together. "
            f"Received: {y_true.shape} and {probabilities.shape}."
        )
    given = set_scores(probabilities, penalty, rank)[np.arange(len(y_true)), y_true]
    levels = {str(level): {"threshold": _threshold(given, level)} for level in LEVELS}
    return {"method": "RAPS", "penalty": penalty, "rank": rank, "levels": levels}


def answer_sets(probabilities: np.ndarray, sets: dict, level: int) -> np.ndarray:
    """The classes that can't be ruled out.

    Parameters
    ----------
    probabilities : array (n, 10), calibrated as those that the sets were fitted on; rows sum to 1
    sets : what `fit_sets` returned, or a card's `sets`
    level : one of LEVELS: of 100 pictures of the ten classes, how many sets shall hold the truth

    Returns
    -------
    bool array (n, 10)
        Always the most probable classes, as many as it takes; a set of a higher level holds those of a lower one.

    Raises
    ------
    SettingsError
        Another level.
    ModelError
        `sets` is not what a card holds.
    """
    if level not in LEVELS:
        raise SettingsError(f"Answer sets can be had at {_listed(map(str, LEVELS), 'and')} %. Received: {level}.")
    try:
        penalty, rank = float(sets["penalty"]), int(sets["rank"])
        threshold = float(sets["levels"][str(level)]["threshold"])
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(
            f"The card's answer sets lack something ({type(error).__name__}: {error}). "
            "Write them again with `python -m cifar_model assess`."
        ) from None
    return set_scores(probabilities, penalty, rank) <= threshold


def set_scores(probabilities: np.ndarray, penalty: float, rank: int) -> np.ndarray:
    """The score of each class: lower = harder to rule out. float64 (n, classes), at least 0.

    Of the most probable class it is 1 - p; of the others 1 + the probability of all classes before + `penalty` for
    each rank beyond `rank` (ranks count from 1). It rises with the rank.
    """
    probabilities = np.asarray(probabilities, float)
    order = np.argsort(-probabilities, axis=1, kind="stable")
    sorted_down = np.take_along_axis(probabilities, order, axis=1)
    ranks = np.arange(1, probabilities.shape[1] + 1)
    ranked = 1 + sorted_down.cumsum(axis=1) - sorted_down + penalty * np.maximum(ranks - rank, 0)
    ranked[:, 0] = 1 - sorted_down[:, 0]
    scores = np.empty_like(ranked)
    np.put_along_axis(scores, order, ranked, axis=1)
    return scores


def evaluate_sets(y_true: np.ndarray, members: np.ndarray) -> dict:
    """How answer sets do on pictures whose truth is known.

    Parameters
    ----------
    y_true : int array (n,), n ≥ 1
    members : bool array (n, 10)

    Returns
    -------
    dict
        "coverage": share of sets that hold the truth; "mean_size"; "sizes": how many sets hold 0, 1, … 10 classes;
        "classes": {name: mean size of the sets of pictures that show it, None where there is none};
        "class_coverage": the same of the share of those sets that hold the truth, which nothing promises.
    """
    y_true, members = np.asarray(y_true), np.asarray(members)
    sizes = members.sum(axis=1)
    of_class = {
        name: float(sizes[y_true == i].mean()) if (y_true == i).any() else None for i, name in enumerate(CLASS_NAMES)
    }
    holds = members[np.arange(len(y_true)), y_true]
    covered = {
        name: float(holds[y_true == i].mean()) if (y_true == i).any() else None for i, name in enumerate(CLASS_NAMES)
    }
    return {
        "coverage": float(members[np.arange(len(y_true)), y_true].mean()),
        "mean_size": float(sizes.mean()),
        "sizes": np.bincount(sizes, minlength=len(CLASS_NAMES) + 1).tolist(),
        "classes": of_class,
        "class_coverage": covered,
    }


def describe_set(members: np.ndarray, level: int) -> str:
    """A set, bool (10,), in words: "cat or dog (95 %)"."""
    names = [name for name, member in zip(CLASS_NAMES, members, strict=True) if member]
    if not names:
        return f"no class is sure enough ({level} %)"
    return f"{'any of the ten classes' if all(members) else _listed(names, 'or')} ({level} %)"


def _threshold(given: np.ndarray, level: int) -> float:
    """The smallest score below which `level` % of n + 1 pictures lie: split conformal prediction's quantile."""
    n = len(given)
    position = -(-(n + 1) * level // 100)
    # Too few pictures to rule anything out: above any score, as a penalty is at most 0.5 a rank.
    return float(np.sort(given)[position - 1]) if position <= n else 10.0


def _listed(words, last: str) -> str:
    *before, final = words
    return f"{', '.join(before)} {last} {final}" if before else final
