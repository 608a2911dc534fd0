"""What a training is made of, but for its two updates, which stand in gan_lab.py.

losses      adversarial losses and the gradient penalty
augmentation  what a discriminator is shown of few images
optim       Adam, the learning rate over a run, the moving average
state       everything that changes from step to step, and its checkpoint
plan        what the set decides, what does not go together, in words
length      how long a run is
timing      how long it takes; --minutes
progress    a bar, a line an epoch, TensorBoard
cuda_graph  the step, recorded and replayed on a GPU
distributed several processes that train as one
follower    what those do that do not write
"""

from lab.training.augmentation import Augmentation
from lab.training.cuda_graph import GraphedStep
from lab.training.distributed import (
    agreed,
    average,
    average_gradients,
    first_on_machine,
    from_first,
    leads,
    most,
    own_device,
    share,
    take_part,
)
from lab.training.follower import begin_alike, follow
from lab.training.length import MOST_EPOCHS, Length
from lab.training.losses import LOSSES, gradient_penalty
from lab.training.optim import Adam, ema_decay, update_ema
from lab.training.plan import (
    changes_of_recipe,
    checked,
    go_on,
    of_the_run,
    planned,
    print_plan,
)
from lab.training.progress import tensorboard_command
from lab.training.state import STEP_FIGURES, TrainingState
from lab.training.timing import TimeBudget

__all__ = [
    "LOSSES",
    "MOST_EPOCHS",
    "STEP_FIGURES",
    "Adam",
    "Augmentation",
    "GraphedStep",
    "Length",
    "TimeBudget",
    "TrainingState",
    "agreed",
    "average",
    "average_gradients",
    "begin_alike",
    "changes_of_recipe",
    "checked",
    "ema_decay",
    "first_on_machine",
    "follow",
    "from_first",
    "go_on",
    "gradient_penalty",
    "leads",
    "most",
    "of_the_run",
    "own_device",
    "planned",
    "print_plan",
    "share",
    "take_part",
    "tensorboard_command",
    "update_ema",
]
