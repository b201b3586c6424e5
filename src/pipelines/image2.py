"""calwebb_image2: from the count rates of an image to a flat-fielded, calibrated one with world coordinates."""

from pathlib import Path

from upramp.errors import UnsupportedModeError
from upramp.framework import Pipeline
from upramp.models import CubeModel, ImageModel
from upramp.models.association import Association, Product, is_association
from upramp.steps.assign_wcs import AssignWcsStep
from upramp.steps.flat_field import FlatFieldStep
from upramp.steps.not_available import BackgroundStep, ResampleStep
from upramp.steps.photom import PhotomStep

__all__ = ["Image2Pipeline"]

NO_ASSOCIATION = "singleton"
RESAMPLED_TYPES = ("MIR_IMAGE", "NRC_IMAGE", "NIS_IMAGE", "FGS_IMAGE")


class Image2Pipeline(Pipeline):
    """Calibrate images of count rates: world coordinates, flat field, surface brightness.

    Results have the suffix cal, or calints if there is an image for every integration.
    """

    class_alias = "calwebb_image2"
    spec = """
    save_bsub = boolean(default=False)  # Accepted for compatibility: the background is not subtracted here
    """
    step_defs = {  # noqa: RUF012 - the form of the base class
        "bkg_subtract": BackgroundStep,
        "assign_wcs": AssignWcsStep,
        "flat_field": FlatFieldStep,
        "photom": PhotomStep,
        "resample": ResampleStep,
    }

    def output_suffixes(self):
        """The file that a run is going to write, or one of them."""
        return ("cal",)

    def process(self, data):
        """Calibrate an exposure, or every product of an association. Returns a list of models."""
        for step in (self.bkg_subtract, self.resample):
            if not step.skip:
                step.check_supported()
        results, given_name = [], self.output_file
        for product, pool, table in self._products(data):
            science = product.science()
            self._check_background(product)
            self.output_file = given_name or product.name
            image = self._open(science)
            image.meta.asn.pool_name, image.meta.asn.table_name = pool, table
            image = self._calibrate(image)
            suffix = "calints" if isinstance(image, CubeModel) else "cal"
            image.meta.filename = Path(self.make_output_path(suffix=suffix)).name
            results.append(image)
        self.output_file, self.output_use_model, self.suffix = given_name, True, False
        return results

    def _products(self, data):
        """What is to be made: product, pool and file name of the association."""
        if not is_association(data):
            name = data if isinstance(data, str | Path) else data.meta.filename
            return [(Product(Path(name or "image2").stem, {"science": [data]}), NO_ASSOCIATION, NO_ASSOCIATION)]
        association = Association.read(self.make_input_path(data))
        if len(association.products) > 1 and self.output_file is not None:
            raise UnsupportedModeError(
                f"{association.path} has {len(association.products)} products, which cannot all be called "
                f"{self.output_file}; leave output_file away"
            )
        return [(product, association.pool, association.path.name) for product in association.products]

    def _check_background(self, product):
        """Background exposures are not left out unless that was asked for."""
        if product.members.get("background") and "skip" not in self.bkg_subtract.origins:
            raise UnsupportedModeError(
                f"product {product.name} has background exposures, and bkg_subtract is not implemented; to go on "
                "without set --steps.bkg_subtract.skip=true"
            )

    def _open(self, exposure):
        image = self.prepare_output(exposure)
        if not isinstance(image, ImageModel | CubeModel):
            raise TypeError(
                f"{image!r} is a {type(image).__name__}; {self.class_alias} takes an ImageModel or a CubeModel, the "
                "_rate or _rateints of stage 1"
            )
        return image

    def _calibrate(self, image):
        for key in ("assign_wcs", "flat_field", "photom"):
            image = getattr(self, key).run(image)
        if isinstance(image, ImageModel) and image.meta.exposure.type in RESAMPLED_TYPES:
            image = self.resample.run(image)  # records that it is skipped
        return image
