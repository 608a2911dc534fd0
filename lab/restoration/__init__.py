"""Corrupted images, and what restores them.

corruption   what every corruption is; its kinds in noises, masks, operators
corruptions  the rows: CORRUPTIONS, and how one is typed
restorers    what restores them, one row each: RESTORERS
projection   onto a generator, with the known operator
denoising    the blind denoiser: its training, its use
posterior    samples of what a picture may show, by a conditional GAN
examples     what both are trained on
networks     the denoiser and the sampler of a set: found, or trained
classical    methods without a network, one row each: CLASSICAL
estimation   what is wrong with a picture
own_pictures  the user's own, restored
scoring      PSNR, SSIM and accuracy of restored images
samples      the sheet of several restorations
sheets       pictures of restored images, drawn and recorded
"""
