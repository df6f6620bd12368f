r"""
Cross-validation by scikit-learn
================================

Nothing leaks from the fold that is judged. Fold k of HTAD [GC21] is the k-th of three contiguous
blocks of each class: windows of one recording are alike, and random folds have neighbours on both
sides. The model takes mean and deviation of features from the samples it learns from, and holds
out some of those to choose its best epoch,

.. math:: \text{score} = \frac13 \sum_k \text{accuracy}(f_{-k}, \text{block}_k) .

Fused, the two sensors tell more than either of them.
"""

import matplotlib.pyplot as plt
import torch
from sklearn.model_selection import cross_val_score

import pnpfusion as pf
from pnpfusion.visualize.style import COOL, WARM

torch.set_num_threads(1)  # on a busy machine more threads can be much slower
data = pf.data.htad()
X, y = torch.cat([*data.modalities.values()], -1).numpy(), data.target.numpy()
folds = pf.data.folds_of_blocks(data.target, 3)
scores = {}
for model in ("only:motion", "only:audio", "pnp"):
    classifier = pf.FusionClassifier(model, modalities=data.dims, epochs=12)
    scores[model] = cross_val_score(classifier, X, y, cv=folds)
    print(f"{model:12} {scores[model].mean():.3f}")
mean = {model: found.mean() for model, found in scores.items()}
alone = max(mean["only:motion"], mean["only:audio"])
assert mean["pnp"] > alone
plt.style.use(pf.visualize.LIGHT)
_, axes = plt.subplots(figsize=(5.4, 2.4), layout="constrained")
for place, (model, found) in enumerate(scores.items()):
    color = WARM[0] if model == "pnp" else COOL[0]
    axes.plot(found, [place] * len(found), "o", color=color, mfc="none", label=model)
    axes.plot(found.mean(), place, "|", color=color, ms=22, mew=2.5)
axes.set_yticks(range(3), scores)
axes.set(xlabel="accuracy of three folds, and their mean", ylim=(-0.6, 2.6))
axes.set_title(f"Fused {mean['pnp']:.3f}, best sensor alone {alone:.3f}")
plt.show()
