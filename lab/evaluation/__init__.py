"""How good generated images are, in figures and in words.

metrics       definitions, on features or on images
catalogue     METRICS: a row each, with what people are told about it
classifiers   how those of a set are trained, and where they are kept
judges        the networks that images are measured through
reference     images as the judges see them; the real images of a set; the classes to ask for
evaluator     computes every metric of images or of a generator; what it has found
subject       what evaluate_images.py is to score
cas           the classification accuracy score, which takes long
diagnosis     what the figures mean, and the option that cures
inception     the Inception FID, an extra
latent_space  walks between latents, nearest training images
"""

from lab.evaluation.evaluator import Evaluator, Judgement

__all__ = ["Evaluator", "Judgement"]
