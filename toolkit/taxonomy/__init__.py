"""Harm categories, and each source's own labels mapped to them, read from ``schemas/taxonomies/<name>.yaml``."""

from toolkit.taxonomy._category import Category, Rule
from toolkit.taxonomy._taxonomy import Taxonomy, load_taxonomy

__all__ = ["Category", "Rule", "Taxonomy", "load_taxonomy"]
