r"""
Training in several processes
=============================

The training loop, with no line that speaks of processes. Started by torchrun, each takes its share
of every batch; losses and gradients are summed,

.. math:: g = \sum_k \nabla \frac1B \sum_{i \in \text{share}_k} \ell_i,

the first process writes, and the weights are those of one process to round-off. Killed and called
again, it goes on from its checkpoint in the folder::

    python docs/examples/in_your_code/training_in_processes.py
    torchrun --standalone --nproc-per-node 2 docs/examples/in_your_code/training_in_processes.py
"""

import os
import tempfile

import matplotlib.pyplot as plt
import torch

import pnpfusion as pf
from pnpfusion.visualize.style import COOL, WARM

torch.set_num_threads(1)  # on a busy machine more threads can be much slower
data = pf.data.holdout(pf.data.digits(), 0.2, 0.2, generator=torch.Generator().manual_seed(0))
model = pf.training.FusionModel.build(data, "pnp", seed=0)
recipe = pf.training.Recipe(epochs=6, batch=96, precision="float64")
with tempfile.TemporaryDirectory() as folder:  # yours would last, and be the same for all
    trained = pf.training.train(model, data, recipe, folder=folder)
accuracy = pf.training.evaluate(model.cpu(), data.split("test"))["accuracy"]
if os.environ.get("RANK", "0") == "0":
    loss = trained.history[-1]["train"]["loss"]
    print(f"loss of the last epoch {loss:.9f}, accuracy {accuracy:.3f}")
    plt.style.use(pf.visualize.LIGHT)
    _, axes = plt.subplots(figsize=(5.6, 3.2), layout="constrained")
    for name, color, dash in (("train", COOL[0], "-"), ("valid", WARM[0], "--")):
        axes.plot([row[name]["loss"] for row in trained.history], dash, color=color, label=name)
    axes.set(xlabel="epoch", ylabel="loss")
    axes.set_title(f"One loop in any number of processes: {accuracy:.1%} told right")
    axes.legend()
    plt.show()
assert accuracy > 0.93
