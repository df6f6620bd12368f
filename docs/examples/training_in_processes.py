r"""The training loop in several processes, with no line that speaks of them.

Started by torchrun, each process takes its share of every batch; losses and gradients are summed,

.. math:: g = \sum_k \nabla \frac1B \sum_{i \in \text{share}_k} \ell_i,

the first process writes, and the weights are those of one process to round-off. Killed and called
again, it goes on from its checkpoint in the folder.

    python docs/examples/training_in_processes.py
    torchrun --standalone --nproc-per-node 2 docs/examples/training_in_processes.py
"""

import os
import tempfile

import torch

import pnpfusion as pf

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
assert accuracy > 0.93
