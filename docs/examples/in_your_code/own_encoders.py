r"""
Encoders of your own
====================

A half of a digit, 32 pixels, is an image of 8 x 4 to its encoder, here a small convolution, which
makes 64 numbers of it, before a fusion layer that is trained by name:

.. math:: E(x) = \max\big(0, A \max(0, K * x + k) + a\big) .

Any module from (batch, d) or (batch, tokens, d) to (batch, 64) will do. Scales, recipe, training
and files are those of every model; own parts are handed over again when a model is read. The
picture shows what is taken for what.
"""

import tempfile
from dataclasses import replace

import matplotlib.pyplot as plt
import torch
from torch import nn

import pnpfusion as pf
from pnpfusion.visualize.style import CONCENTRATION_MAP


def encoder():
    image = [nn.Unflatten(1, (1, 8, 4)), nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Flatten()]
    return nn.Sequential(*image, nn.Linear(8 * 8 * 4, 64), nn.ReLU())


torch.set_num_threads(1)  # on a busy machine more threads can be much slower
torch.manual_seed(0)
data = pf.data.holdout(pf.data.digits(), 0.2, 0.2, generator=torch.Generator().manual_seed(0))
config = replace(pf.training.ModelConfig.of(data, "pnp"), encoders="own")
model = pf.training.FusionModel(config, encoders={name: encoder() for name in data.dims})
pf.training.train(model, data, pf.training.Recipe(epochs=6))
found = pf.training.evaluate(model, data.split("test"))
print(f"accuracy {found['accuracy']:.3f}, calibration error {found['calibration_error']:.3f}")
assert found["accuracy"] > 0.93
with tempfile.TemporaryDirectory() as folder:
    model.save_pretrained(folder)
    fresh = {name: encoder() for name in data.dims}
    again = pf.training.FusionModel.from_pretrained(folder, encoders=fresh)
assert pf.training.evaluate(again, data.split("test")) == found

test = data.split("test")
told, table = pf.training.predict(model, test).argmax(1), torch.zeros(10, 10)
table.index_put_((test.target, told), torch.ones(len(test)), accumulate=True)
plt.style.use(pf.visualize.LIGHT)
_, axes = plt.subplots(figsize=(4.6, 3.8), layout="constrained")
picture = axes.pcolormesh(table, cmap=CONCENTRATION_MAP, norm="symlog")
axes.figure.colorbar(picture, label="digits of the test")
axes.set(xlabel="told to be", ylabel="is", aspect="equal")
axes.set_xticks([k + 0.5 for k in range(10)], range(10))
axes.set_yticks([k + 0.5 for k in range(10)], range(10))
axes.set_title(f"{found['accuracy']:.1%} are told right")
plt.show()
