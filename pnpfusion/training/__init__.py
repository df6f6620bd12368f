"""Training of fusion models: a recipe, one loop, checkpoints that survive, and how good it is."""


def __dir__() -> list[str]:
    from pnpfusion.solvers.public_names import public_names

    return public_names(globals())


from pnpfusion.training.checkpoint import CheckpointError as CheckpointError
from pnpfusion.training.checkpoint import TrainingError as TrainingError
from pnpfusion.training.classifier import FusionClassifier as FusionClassifier
from pnpfusion.training.config import ModelConfig as ModelConfig
from pnpfusion.training.evaluate import calibration as calibration
from pnpfusion.training.evaluate import evaluate as evaluate
from pnpfusion.training.evaluate import predict as predict
from pnpfusion.training.evaluate import with_noise as with_noise
from pnpfusion.training.evaluate import without_each as without_each
from pnpfusion.training.health import HealthWarning as HealthWarning
from pnpfusion.training.loop import Stopped as Stopped
from pnpfusion.training.loop import Trained as Trained
from pnpfusion.training.loop import train as train
from pnpfusion.training.model import FusionModel as FusionModel
from pnpfusion.training.models import MODELS as MODELS
from pnpfusion.training.recipe import Recipe as Recipe
from pnpfusion.training.regressor import FusionRegressor as FusionRegressor
