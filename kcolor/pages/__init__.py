"""The pages of an evaluation, of a comparison, and of what a detector found: one HTML file each, complete in itself.

What is drawn and said is worked out here; how it looks is in ``templates/``. Everything that is not ours is escaped,
and the pages' own policy forbids a browser to load or run anything.
"""

from kcolor.pages.comparison import comparison_page
from kcolor.pages.gallery import Shown, chosen, ranked_by
from kcolor.pages.instances import instances_page
from kcolor.pages.report import report_page

__all__ = ["Shown", "chosen", "comparison_page", "instances_page", "ranked_by", "report_page"]
