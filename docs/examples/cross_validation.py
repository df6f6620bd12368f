r"""Cross-validation by scikit-learn, where nothing leaks from the fold that is judged.

Fold k of HTAD is the k-th of three contiguous blocks of each class. Windows of one recording are
alike, and random folds have neighbours on both sides. The model takes mean and deviation of
features from the samples it learns from, and holds out some of those to choose its best epoch,

.. math:: \text{score} = \frac13 \sum_k \text{accuracy}(f_{-k}, \text{block}_k).
"""

import torch
from sklearn.model_selection import cross_val_score

import pnpfusion as pf

torch.set_num_threads(1)  # on a busy machine more threads can be much slower
data = pf.data.htad()
X, y = torch.cat([*data.modalities.values()], -1).numpy(), data.target.numpy()
folds = pf.data.folds_of_blocks(data.target, 3)
scores = {}
for model in ("only:motion", "only:audio", "pnp"):
    classifier = pf.FusionClassifier(model, modalities=data.dims, epochs=12)
    scores[model] = cross_val_score(classifier, X, y, cv=folds).mean()
    print(f"{model:12} {scores[model]:.3f}")
assert scores["pnp"] > max(scores["only:motion"], scores["only:audio"])
