"""rscd: leave out groups that the reset switch charge decay disturbs (MIRI)."""

from upramp.kernels.corrections import SwitchCharge
from upramp.kernels.rscd import MINIMUM_GROUPS, rscd_skips
from upramp.models import RSCDModel
from upramp.steps.ramp_step import MiriStep, require

__all__ = ["RscdStep"]

OLD_NAMES = {"SUBPRISM": "SLITLESSPRISM"}


class RscdStep(MiriStep):
    """Flag the first groups of every integration, as many as the RSCD reference says."""

    class_alias = "rscd"
    reference_file_types = ("rscd",)

    def miri_correction(self, ramp):
        """Numbers of groups for the subarray and readout pattern; they go into the header, too."""
        reference = self.open_reference(ramp, "rscd", RSCDModel)
        if reference is None:
            return None
        subarray, ngroups, nints = require(
            ramp, SUBARRAY="meta.subarray.name", NGROUPS="meta.exposure.ngroups", NINTS="meta.exposure.nints"
        )
        readpatt = ramp.meta.exposure.readpatt
        subarray = OLD_NAMES.get(subarray.upper(), subarray)
        table = reference.rscd_group_skip_table
        rows = table[(table["subarray"] == subarray) & (table["readpatt"] == readpatt)]
        if len(rows) == 0:
            self.record_skip(
                ramp,
                f"READPATT, SUBARRAY combination not found: the RSCD reference {reference.meta.filename} has no row "
                f"for {subarray} read in {readpatt or 'a pattern that READPATT does not name'}",
            )
            return None
        if ngroups < MINIMUM_GROUPS:
            self.record_skip(ramp, f"the exposure has {ngroups} groups; {MINIMUM_GROUPS} are needed")
            return None
        if rows["group_skip1"][0] < 0:
            self.log.warning(
                "RSCD reference %s is of an old kind, without a number for the first integration: 1 is taken",
                reference.meta.filename,
            )
        chosen = rscd_skips(
            ngroups,
            ramp.shape[0],
            nints,
            ramp.meta.exposure.integration_start or 1,
            int(rows["group_skip1"][0]),
            int(rows["group_skip"][0]),
        )
        self.log.info("Groups skipped: %s in the first integration, %s in later ones", chosen.first, chosen.later)
        ramp.meta.rscd.ngroups_skip_int1, ramp.meta.rscd.ngroups_skip_int2p = chosen.first, chosen.later
        # Counted during the run; the header of a product that is filled in place needs their places.
        self.record_counts(ramp, ((0, 0), (0, 0)))
        return SwitchCharge(True, chosen.skips, int(chosen.first is not None))

    @staticmethod
    def record_counts(model, counts):
        """Write the counts of pixels into the header, as far as it states numbers of groups.

        Parameters
        ----------
        model : RampModel, or a product made from it
            Changed in place.
        counts : ((int, int), (int, int))
            `upramp.kernels.rscd.RscdCounts` of the first integration and of later ones.
        """
        names = ("int1", "int2p")
        for name, (lowered, nothing_skipped) in zip(names, counts, strict=True):
            if model.meta.rscd[f"ngroups_skip_{name}"] is not None:
                model.meta.rscd[f"keep_groups_saturation_{name}"] = lowered
                model.meta.rscd[f"keep_bright_firstgroup_{name}"] = nothing_skipped

    def process(self, data):
        """Flag the groups and record what was counted."""
        from upramp.kernels import stepwise

        ramp = self.open_ramp(data)
        correction = self.correction(ramp)
        if correction is not None:
            self.record_counts(ramp, stepwise.apply(correction, stepwise.Ramp.of(ramp)))
            self.record_complete(ramp)
        return ramp
