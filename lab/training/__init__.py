"""What a training is made of, but for its two updates, which stand in gan_lab.py.

losses      adversarial losses and the gradient penalty
augmentation  what a discriminator is shown of few images
optim       Adam, the moving average
muon        the optimizer of convolutional denoisers
state       everything that changes from step to step, and its checkpoint
networks    those that the options describe
plan        what the set decides, what does not go together, in words
length      how long a run is, and its learning rates
timing      how long it takes; --minutes
pace        how often a checkpoint, the history and the page are written
progress    a bar, a line an epoch, TensorBoard
cuda_graph  the step, recorded and replayed on a GPU
distributed several processes that train as one
"""

from lab.training.augmentation import Augmentation
from lab.training.cuda_graph import GraphedStep
from lab.training.length import MOST_EPOCHS, Length
from lab.training.losses import LOSSES, gradient_penalty
from lab.training.networks import build_networks
from lab.training.optim import Adam, ema_decay, update_ema
from lab.training.plan import changes_of_recipe, checked, go_on, of_the_run, planned, print_plan
from lab.training.progress import tensorboard_command
from lab.training.state import STEP_FIGURES, TrainingState
from lab.training.timing import TimeBudget
