"""World coordinates of images, made with gwcs, which is imported when a function is called.

gwcs is optional (``pip install 'upramp[wcs]'``); only assign_wcs needs it.
"""

from upramp.wcs.imaging import Pointing, imaging_wcs
from upramp.wcs.keywords import footprint_region, sip_keywords

__all__ = ["Pointing", "footprint_region", "imaging_wcs", "sip_keywords"]
