"""The pages of an evaluation and of a comparison: one HTML file each, which needs nothing beside it.

What is drawn and said is worked out here; how it looks is in ``templates/``. Everything that is not ours is escaped,
and the pages' own policy forbids a browser to load or run anything.
"""

from kcolor.pages.comparison import comparison_page
from kcolor.pages.gallery import Shown, chosen, ranked_by
from kcolor.pages.report import report_page

__all__ = ["Shown", "chosen", "comparison_page", "ranked_by", "report_page"]
