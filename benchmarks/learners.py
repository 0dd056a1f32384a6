"""Learning curves of other learners: scikit-learn's on photos, from 40 images up.

    python benchmarks/learners.py OUT.csv       (HEADWATER_DATA: docs/data.md; two minutes)

Nine learners on colours of 16 x 16 px in 48 principal components, of eleven tasks: curves of
another kind than those that most constants of `headwater exchange` were found on.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import SVC

TASKS = {
    "plantvillage15": ("level1", "level3"),
    "eurosat": ("level1", "level2"),
    "grocery": ("level1", "level3"),
    "caltech101": ("level1", "level3"),
    "crawl_tiles": ("level1", "level3"),
    "fruits360_3body": ("level1",),
}
LEARNERS: dict[str, Callable[[], Any]] = {
    "1 neighbour": lambda: KNeighborsClassifier(1),
    "5 neighbours": lambda: KNeighborsClassifier(5),
    "forest": lambda: RandomForestClassifier(50, random_state=0),
    "extra trees": lambda: ExtraTreesClassifier(50, random_state=0),
    "naive Bayes": lambda: GaussianNB(),
    "discriminant": lambda: LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto"),
    "ridge": lambda: RidgeClassifier(1.0),
    "SVM": lambda: SVC(C=5),
    "logistic": lambda: LogisticRegression(max_iter=200),
}
FIRST, STEP = 40, 1.6


def learning_curves(root: Path) -> pd.DataFrame:
    """curve, n, score (percent right on the whole test set), group."""
    rows = []
    for name, levels in TASKS.items():
        labels = pd.read_csv(root / name / "labels.csv", dtype=str)
        images = np.stack([_colours(root / name / path) for path in labels["path"]])
        test = (labels["split"] == "test").to_numpy()
        parts = PCA(48, random_state=0).fit(images[~test])
        train_x, test_x = parts.transform(images[~test]), parts.transform(images[test])
        for level in levels:
            y = pd.factorize(labels[level])[0]
            rows += _curves(f"{name} {level}", train_x, y[~test], test_x, y[test])
    return pd.DataFrame(rows)


def _curves(name: str, x: Any, y: Any, test_x: Any, test_y: Any) -> list[dict[str, Any]]:
    order = np.random.default_rng(0).permutation(len(y))
    rows = []
    for learner, made in LEARNERS.items():
        size = float(FIRST)
        while size <= len(y):
            drawn = order[: int(size)]
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of tiny training sets
                right = made().fit(x[drawn], y[drawn]).predict(test_x) == test_y
            rows.append(
                {
                    "curve": f"{name} {learner}",
                    "n": int(size),
                    "score": 100 * right.mean(),
                    "group": name,
                }
            )
            size *= STEP
    return rows


def _colours(path: Path) -> Any:
    with Image.open(path) as image:
        small = image.convert("RGB").resize((16, 16), Image.Resampling.BOX)
    return np.asarray(small, dtype=np.float32).ravel() / 255


if __name__ == "__main__":
    learning_curves(Path(os.environ["HEADWATER_DATA"])).to_csv(sys.argv[1], index=False)
