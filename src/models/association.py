"""Associations: JSON files that say which exposures make up a product, and what each is for."""

import json
from dataclasses import dataclass
from pathlib import Path

from upramp.errors import FileFormatError

__all__ = ["Association", "Product", "is_association"]


def is_association(thing):
    """Whether this is the name of an association."""
    return isinstance(thing, str | Path) and Path(thing).suffix == ".json"


@dataclass(frozen=True)
class Product:
    """One product of an association.

    Attributes
    ----------
    name : str
        What its files are called, without suffix.
    members : dict of str to list of Path
        Exposures by what they are for, "science" or "background" (lower case). Relative names start at the folder of
        the association.
    """

    name: str
    members: dict

    def science(self):
        """The science exposure.

        Raises
        ------
        FileFormatError
            There is not exactly one.
        """
        found = self.members.get("science", [])
        if len(found) != 1:
            raise FileFormatError(
                f"product {self.name!r} has {len(found)} members of exptype science; expected one, as in an "
                "association of level 2"
            )
        return found[0]


@dataclass(frozen=True)
class Association:
    """An association.

    Attributes
    ----------
    path : Path
    pool : str
        Name of the pool of exposures that it was made from.
    products : list of Product
    """

    path: Path
    pool: str
    products: list

    @classmethod
    def read(cls, path):
        """Read an association.

        Raises
        ------
        FileNotFoundError
            There is no such file.
        FileFormatError
            It is not JSON, or has not the structure of an association.
        """
        path = Path(path)
        try:
            tree = json.loads(path.read_text())
            products = [
                Product(str(product["name"]), _by_purpose(product["members"], path.parent))
                for product in tree["products"]
            ]
            pool = str(tree.get("asn_pool", "none"))
        except (UnicodeDecodeError, json.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
            raise FileFormatError(
                f"{path} is not an association ({type(error).__name__}: {error}); expected JSON with products, each "
                "with a name and members, each with expname and exptype"
            ) from error
        if not products:
            raise FileFormatError(f"the association {path} has no products")
        return cls(path, pool, products)


def _by_purpose(members, folder):
    found = {}
    for member in members:
        found.setdefault(member["exptype"].lower(), []).append(folder / member["expname"])
    return found
