"""clean_flicker_noise: subtract 1/f noise that is measured on the background."""

import warnings

import numpy as np

from upramp import models
from upramp.errors import UnsupportedModeError
from upramp.kernels._flags import DO_NOT_USE, NON_SCIENCE
from upramp.models import FlatModel, RampModel
from upramp.steps.background_step import BackgroundStep, in_all_integrations, set_aside
from upramp.steps.draft_rate import draft_rates
from upramp.steps.ramp_step import plane, require
from upramp.steps.reference_step import ReferenceStep

__all__ = ["CleanFlickerNoiseStep"]

FREQUENCY_TYPES = ("NRS_MSASPEC", "NRS_IFU", "NRS_FIXEDSLIT", "NRS_BRIGHTOBJ")
AUTOMATIC = {"NIS_IMAGE": "NIRISS", "NRC_IMAGE": "NIRCAM"}  # rules of upramp.kernels.flicker_parameters
LIGHT_CURVE_TYPES = ("NIS_SOSS", "NRS_BRIGHTOBJ", "NRC_TSGRISM", "NRC_TSIMAGE")
CUTOFFS = {"ALLSLITS": (150, 200, 49943, 49957)}
DEFAULT_CUTOFFS = (1061, 1211, 49943, 49957)


class CleanFlickerNoiseStep(BackgroundStep):
    """Subtract from every group, or from rates, the 1/f noise that is seen in the background."""

    class_alias = "clean_flicker_noise"
    reference_file_types = ("flat", "pastasoss")
    spec = """
    autoparam            = boolean(default=False)  # Choose parameters after the exposure
    fit_method           = option('fft', 'median', default='median')  # How the noise is fitted
    fit_by_channel       = boolean(default=False)  # Every amplifier by itself
    background_method    = option('median', 'model', 'median_image', None, default='median')  # How the background is
    background_box_size  = int_list(min=2, max=2, default=None)  # Box of the background model, pixels
    mask_science_regions = boolean(default=False)  # Leave out regions with spectra
    apply_flat_field     = boolean(default=False)  # Divide by the flat field before the fit
    n_sigma              = float(default=2.0)      # Limit of the background, sigma
    fit_histogram        = boolean(default=False)  # Sigma from a fit to the histogram
    single_mask          = boolean(default=True)   # One mask for all integrations
    user_mask            = string(default=None)    # Mask of the user's own
    save_mask            = boolean(default=False)  # Save the mask
    save_background      = boolean(default=False)  # Save the background
    save_noise           = boolean(default=False)  # Save the noise
    skip                 = boolean(default=True)   # Skip this step
    """

    def wanted_reference_types(self):
        """The flat if it is used; gain and read noise for the draft slopes."""
        without_slopes = self._mask_file and self._background != "median_image" and not self.autoparam
        wanted = [] if without_slopes else ["gain", "readnoise"]
        return [*wanted, "flat"] if self.apply_flat_field or self.autoparam else wanted

    @property
    def _background(self):
        return None if str(self.background_method).lower() == "none" else self.background_method

    @property
    def _mask_file(self):
        return None if str(self.user_mask).lower() == "none" else self.make_input_path(self.user_mask)

    def check_supported(self, exposure):
        """Refuse what needs positions of spectra or light curves, before any work.

        Raises
        ------
        UnsupportedModeError
            Names the parameter and the exposure type.
        FileNotFoundError
            There is no such mask.
        """
        kind = exposure.meta.exposure.type or ""
        if self._hopeless(exposure):
            return
        if self.mask_science_regions and kind.startswith(("NRS", "NIS_SOSS")) and not self._mask_file:
            raise UnsupportedModeError(
                f"{self.name}: mask_science_regions=True needs the places of the spectra of {kind} on the detector, "
                "which are known in stage 2 only; set it to False, or give a mask with user_mask"
            )
        if self._background == "median_image":
            series = kind in LIGHT_CURVE_TYPES or (kind == "MIR_IMAGE" and bool(exposure.meta.visit.tsovisit))
            if series and exposure.shape[0] > 1:
                raise UnsupportedModeError(
                    f"{self.name}: background_method='median_image' needs the light curve of a {kind} exposure, which "
                    "is known in stage 3 only; use 'median', 'model' or None"
                )
        if self._mask_file and not self._mask_file.exists():
            raise FileNotFoundError(f"{self.name}: there is no mask {self._mask_file} (user_mask)")

    def _hopeless(self, exposure):
        """Why an exposure cannot be cleaned, None if it can."""
        kind = exposure.meta.exposure.type or ""
        if kind.startswith("MIR") and kind != "MIR_IMAGE":
            return f"the exposure type is {kind}; of MIRI only MIR_IMAGE can be cleaned"
        if self.fit_method == "fft" and kind not in FREQUENCY_TYPES:
            return f"fit_method='fft' cannot be applied to {kind}; it is for {', '.join(FREQUENCY_TYPES)}"
        return None

    def process(self, data):
        """Clean a ramp, or rates, which are then changed in the place of a ramp."""
        exposure = self.open_exposure(data)
        self.check_supported(exposure)
        automatic = self.autoparam and self._is_automatic(exposure)
        flat = self._flat(exposure) if automatic or self.apply_flat_field else None
        background, by_channel, drafts = self._background, self.fit_by_channel, None
        if automatic:
            drafts = self._drafts(exposure, self._by_integration(background))
            background, by_channel = self._choose(exposure, drafts, flat)
        if exposure.meta.exposure.type == "NIS_SOSS":
            self.get_reference_file(exposure, "pastasoss")  # noted in the header, as the reference pipeline does
        reason = self._hopeless(exposure)
        if reason:
            return self.record_failure(exposure, reason)
        fit = self._fit(exposure, background, by_channel)
        found = self._find_mask(exposure, flat, background, drafts)
        if isinstance(found, str):
            return self.record_failure(exposure, found)
        mask, rates, scene = found
        if background == "median_image" and (exposure.data.ndim < 3 or len(exposure.data) < 2):
            return self.record_failure(exposure, "background_method='median_image' needs two integrations or more")
        return self._clean(exposure, mask, rates, scene, fit, flat, background)

    def _fit(self, exposure, background, by_channel):
        """What the kernel has to know."""
        from upramp.kernels.flicker_noise import FlickerFit

        detector, subarray = require(exposure, DETECTOR="meta.instrument.detector", SUBARRAY="meta.subarray.name")
        miri = (exposure.meta.exposure.type or "").startswith("MIR")
        if by_channel and (subarray != "FULL" or miri):
            self.log.warning("fit_by_channel=True is for full frames of near-infrared detectors: fitting whole lines")
            by_channel = False
        return FlickerFit(
            axis=1 if miri else abs(*require(exposure, SLOWAXIS="meta.subarray.slowaxis")),
            background=None if background == "median_image" else background,
            box_size=None if self.background_box_size is None else tuple(self.background_box_size),
            n_sigma=self.n_sigma,
            by_channel=by_channel,
            detector=detector.upper() if self.fit_method == "fft" else "",
            cutoffs=CUTOFFS.get(subarray, DEFAULT_CUTOFFS),
        )

    def _flat(self, exposure):
        """The flat field without holes, on the pixels of the exposure; None without one."""
        from upramp.kernels.flicker_noise import restore_flat

        reference = self.find_reference(exposure, "flat", FlatModel)
        if reference is None:
            self.log.warning("There is no flat for %s exposures: not using any", exposure.meta.exposure.type)
            return None
        return restore_flat(_native(reference, "data", exposure, np.float32))

    def _drafts(self, exposure, by_integration):
        """Draft slopes of the exposure, and of its integrations if wanted; of rates there is nothing to fit."""
        return draft_rates(self, exposure, by_integration) if isinstance(exposure, RampModel) else None

    def _by_integration(self, background):
        """Whether every integration has a mask of its own."""
        return not self.single_mask or background == "median_image"

    def _find_mask(self, exposure, flat, background, drafts):
        """Mask of the background, rates of the integrations or None, and the model that the mask belongs to.

        Returns the reason, a string, when there is none.
        """
        rates, scene = None, exposure
        by_integration = self._by_integration(background)
        if self._mask_file is None or background == "median_image":
            drafts = drafts or self._drafts(exposure, by_integration)
            if drafts is not None:
                scene = drafts[1 if by_integration else 0]
                if scene is None:
                    return "no slopes can be fitted to find the background"
            rates = scene.data if flat is None else scene.data / flat
        if self._mask_file is not None:
            self.log.info("Using the mask %s", self._mask_file)
            with models.open(self._mask_file) as model:
                mask = np.array(model.data) != 0
        else:
            mask = self._background_mask(exposure, scene, rates, by_integration)
        frames = 1 if exposure.data.ndim == 2 else len(exposure.data)
        fits = mask.shape[-2:] == exposure.shape[-2:] and mask.ndim in (2, 3)
        if not fits or (mask.ndim == 3 and exposure.data.ndim > 2 and len(mask) != frames):
            return f"the mask has shape {mask.shape}; the exposure has {exposure.shape}"
        return mask, rates, scene

    def _background_mask(self, exposure, scene, rates, by_integration):
        """Pixels of the background, of the exposure as a whole or of every integration."""
        from upramp.kernels.flicker_noise import background_mask

        start = None
        if self.mask_science_regions and exposure.meta.exposure.type == "MIR_IMAGE":
            start = ((scene.dq | self._flat_flags(exposure)) & (DO_NOT_USE | NON_SCIENCE)) == 0
        mask = background_mask(rates, start, n_sigma=self.n_sigma, fit_histogram=self.fit_histogram)
        return mask if by_integration else in_all_integrations(mask)

    def _flat_flags(self, exposure):
        """Flags of the flat field, which tell where the detector sees the sky."""
        from upramp.kernels.flat_field import prepare_flat_tile

        # A step of its own: this flat is not noted in the header.
        reference = ReferenceStep("flat_of_mask", parent=self).find_reference(exposure, "flat", FlatModel)
        if reference is None:
            return np.uint32(0)
        flat, flags = _native(reference, "data", exposure, np.float32), _native(reference, "dq", exposure, np.uint32)
        prepare_flat_tile(flat, flags, 0, flat.shape[0], 0, flat.shape[1])
        return flags

    def _clean(self, exposure, mask, rates, scene, fit, flat, background):
        """Clean the arrays and save what was asked for."""
        from upramp.kernels import flicker_noise

        reference = None
        if background == "median_image":
            scale = flicker_noise.scale_of_integrations(rates)
            if scale is None:
                return self.record_failure(exposure, "no integration has a rate to scale the median image with")
            typical = flicker_noise.median_ramp(exposure.data)
            reference = lambda i: scale[i] * typical  # noqa: E731
        # A fit of frequencies may fail on the way, and then everything goes back.
        original = set_aside(exposure.data) if self.save_noise or fit.detector else None
        shown = models.temporary_array(exposure.shape, "f4").bits.view(np.float32) if self.save_background else None
        arguments = {"flat": flat, "reference": reference}
        try:
            if exposure.data.ndim == 4:
                missed = flicker_noise.clean_ramp_in_place(
                    exposure.data, exposure.groupdq, mask, fit, background=shown, **arguments
                )
            else:
                images, backgrounds = (
                    None if a is None else a.reshape(-1, *a.shape[-2:]) for a in (exposure.data, shown)
                )
                missed = flicker_noise.clean_rates_in_place(images, mask, fit, background=backgrounds, **arguments)
        except np.linalg.LinAlgError as error:
            exposure.data[...] = original
            return self.record_failure(exposure, f"the fit failed ({error}); the mask may leave too few pixels")
        for image in missed:
            self.log.warning("No pixel of the background in %s (integration, group; from 0): it stays as it is", image)
        if self.save_mask:
            self.save_mask_of(scene, mask, "mask", exposure)
        if self.save_background:
            self.save_array(exposure, shown, "flicker_bkg", exposure)
        if self.save_noise:
            self.save_array(exposure, np.subtract(exposure.data, original, out=original), "flicker_noise", exposure)
        return self.record_complete(exposure)

    def _is_automatic(self, exposure):
        """Whether parameters can be chosen after this exposure."""
        kind = exposure.meta.exposure.type
        if kind not in AUTOMATIC:
            known = " and ".join(AUTOMATIC)
            self.log.warning("autoparam=True is for %s, not for %s: taking parameters as given", known, kind)
        return kind in AUTOMATIC

    def _choose(self, exposure, drafts, flat):
        """Background and whether channels are fitted apart, as suits the image, whatever the user asked for."""
        from upramp.kernels import flicker_parameters

        rate = exposure.data if drafts is None else None if drafts[0] is None else drafts[0].data
        if rate is None:
            return self._background, self.fit_by_channel  # the search for the background says why it cannot go on
        if rate.ndim == 3:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)  # pixels without any rate
                rate = np.nanmean(rate, axis=0)
        rules = getattr(flicker_parameters, AUTOMATIC[exposure.meta.exposure.type])
        statistics = flicker_parameters.image_statistics(rate if flat is None else rate / flat, rules)
        if statistics is None:
            self.log.warning("autoparam=True: no pixel has a rate: taking parameters as given")
            return self._background, self.fit_by_channel
        background, by_channel = flicker_parameters.choose_fit(statistics, rules)
        self.log.debug("autoparam=True found %s", statistics)
        self.log.info(
            "autoparam=True chose: apply_flat_field=%s, background_method=%s, fit_by_channel=%s",
            flat is not None, background, by_channel,
        )  # fmt: skip
        return background, by_channel


def _native(reference, name, exposure, dtype):
    from upramp.kernels.stepwise import native_plane

    return native_plane(plane(reference, name, exposure, dtype), dtype, exposure.shape[-2:])
