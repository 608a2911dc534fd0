"""Corrupted images, and what restores them.

corruptions  what is done to images, one row each: CORRUPTIONS
estimation   how strong the noise in an image is
restorers    what restores them, one row each: RESTORERS
projection   onto a generator, and samples of what an image may show
denoising    the convolutional denoiser: trained, loaded, used
scoring      PSNR and SSIM of restored images
sheets       pictures of restored images, drawn and recorded
"""
